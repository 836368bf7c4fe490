"""Where the names of package `fusion` are at home that are no method's."""

__all__ = ["HOMES"]

HOMES = {
    "BoxCorrection": "box_corrections",
    "CategoryMaps": "score_maps",
    "DetectionTable": "table",
    "Hierarchy": "hierarchy",
    "InputError": "errors",
    "Metadata": "table",
    "Reading": "coco_results",
    "Recipe": "recipe",
    "Relations": "relations",
    "Scales": "scales",
    "ScoreMap": "score_maps",
    "ScoreModel": "score_models",
    "apply": "run",
    "build_weights": "weights",
    "fold_hierarchy": "folding",
    "parse_recipe": "recipe_toml",
    "read_coco_results": "coco_results",
    "read_hierarchy": "hierarchy",
    "read_recipe": "recipe_file",
    "read_table": "storage",
    "soft_mask_array": "soft_masks",
    "trace": "run",
    "write_coco_results": "coco_results",
    "write_recipe": "recipe_file",
    "write_table": "storage",
}
