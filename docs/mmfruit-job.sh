#!/usr/bin/env bash
# The Open Images champion's way from nothing, in plain commands (mmfruit-openimages2019): drawn Open Images data, ten
# detectors on its splits, naive ensembles of similar ones, the search for a tree over them, an expert, relations,
# refined boxes, four voters on masks, both submissions. docs/mmfruit-job.md says what came out. It needs the extra `zoo`
# and about 40 minutes of two processors.
#
#   docs/mmfruit-job.sh [FOLDER] [--scale N]      ("mmfruit" and 1 when not given; N times the pictures and steps)
#
# The same command goes on where it was interrupted: what is there is not made again. Before it, if need be: IMAGES=1500
# to train and tune on, STEPS=700 of each training, TRIALS=200 of the search, DETECTORS="plain dh" (some of the ten),
# BOXES=20 that get masks on each picture.
set -euo pipefail
home=mmfruit scale=1
while [ $# -gt 0 ]; do
    case $1 in
        --scale) scale=$2 && shift 2 ;;
        *) home=$1 && shift ;;
    esac
done
images=${IMAGES:-$((1500 * scale))} steps=${STEPS:-$((700 * scale))} trials=${TRIALS:-200} boxes=${BOXES:-20}
detectors=${DETECTORS:-plain class-aware class-aware-1 dh dh-1 decoupled cascade4 augmented full-class weak}
mkdir -p "$home"

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }
named() { while IFS= read -r line; do printf '%-14s %s\n' "$1" "$line"; done; }
made() { [ -e "$1" ] || "${@:2}"; }  # FILE COMMAND...: a command that is not run where its file is there
beside() { set -m; { "$@"; } & other=$!; set +m; trap 'kill -- -$other 2>/dev/null || true' EXIT; }
both() { wait "$other"; trap - EXIT; }

say "1. Open Images, drawn: a class tree, group-of boxes, verified labels, pictures with labels alone, masks"
scenery=(--size 96 --categories 16 --tail 1.2 --clutter 1 --noise 0.5 --groups 0.1)
made "$home/whole" quorum zoo scenes "$home/whole" --images "$images" --seed 0 "${scenery[@]}"
made "$home/labels" quorum zoo scenes "$home/labels" --images $((images / 3)) --seed 1 --labels-only 1 "${scenery[@]}"
made "$home/test" quorum zoo scenes "$home/test" --images $((images / 4)) --seed 2 --drawn-tail 0.5 "${scenery[@]}"
made "$home/lists" quorum split "$home/whole/openimages/boxes.csv" \
    --shares train=0.6,rest=0.2,tune-1=0.1,tune-2=0.1 -o "$home/lists"
cat "$home"/lists/{train,rest}.txt > "$home/models.txt"
cat "$home"/lists/tune-{1,2}.txt > "$home/tune.txt"
cp "$home/lists/train.txt" "$home/train.txt"
data() {  # LIST MORE..., of the pictures to train and tune on; or test
    local set=whole list=",list=$home/$1.txt"
    if [ "$1" = test ]; then set=test list=""; fi
    local files=$home/$set/openimages
    echo "openimages:$files/boxes.csv,$home/$set/images,classes=$files/classes.csv,name=drawn,split=$1$list${2:-}"
}

say "2. The detectors: numbers 1 to 16 are trained on 60 % of the pictures, 17 to 28 on 80 %; two at a time"
train() {  # RUN VARIANT STEPS MORE...
    made "$home/runs/$1/card.md" quorum train "$2" -o "$home/runs/$1" --scale tiny --resume --set train.steps="$3" \
        "${@:4}"
}
detector() {  # RUN VARIANT STEPS MORE...
    train "$1" "$2" "$3" --set "train.milestones=[$(($3 * 3 / 4)),$(($3 * 9 / 10 + 1))]" --set 'data.short=[96]' \
        --set data.long=128 "${@:4}"
}
look() {  # MEMBER MORE...
    for split in tune test; do
        made "$home/$split/$1.parquet" quorum predict "$home/runs/$1" --data "$(data $split)" \
            -o "$home/$split/$1.parquet" "${@:2}"
    done
}
member() {  # MEMBER VARIANT LIST MORE...
    case " $detectors " in
        *" $1 "*) { detector "$1" "$2" "$steps" --data "$(data "$3")" "${@:4}" && look "$1"; } 2>&1 | named "$1" ;;
    esac
}
labels=$home/labels/openimages
weak=(--data "labels:$labels/labels.csv,$home/labels/images,classes=$labels/classes.csv,name=labels")
first() {
    member decoupled mm_decoupled models
    member dh mm_r50_dh train
    member plain mm_x50_plain train
    member weak mm_wsddn models "${weak[@]}"
}
second() {
    member class-aware mm_x50_classaware train
    member cascade4 mm_cascade4 models
    member augmented mm_x50_classaware models --set 'data.elaborate={}'
    member dh-1 mm_r50_dh train --set train.seed=1
    member class-aware-1 mm_x50_classaware train --set train.seed=1
    member full-class mm_fullclass models
}
mkdir -p "$home"/{tune,test}
export QUORUM_THREADS=1
beside first
second
both

say "3. An expert for the worst categories, a box refiner and HRNets that tell an object from its ground"
files=$home/whole/openimages
named_files() { echo --image-labels "$1/labels.csv" --class-descriptions "$1/classes.csv" --protocol openimages; }
truth=(-g "$files/boxes.csv" $(named_files "$files"))
pixels="masks=$files/segmentation.csv,mask_folder=$files/segmentation"
expert() {
    made "$home/expert/data.txt" quorum zoo experts --data "$(data models)" -o "$home/expert" \
        --worst 4 --table "$home/tune/dh.parquet" "${truth[@]}" --by cosine --run "$home/runs/dh" --ratio 3
    detector expert mm_expert10 "$steps" --data "$(cat "$home/expert/data.txt")" && look expert
}
segmenter() { train "hrnet-$1" "mm_hrnet_$2" $((steps * 2 / 3)) --data "$(data models ",$pixels")"; }
beside expert
detector refiner mm_box_refiner $((steps * 2 / 3)) --data "$(data models)" 2>&1 | named refiner
both
two() { segmenter 200-300 200_300; segmenter 112 112; }
beside two
segmenter 256 256
both
unset QUORUM_THREADS

say "4. Naive ensembles of similar detectors, by weights learned on the first list to tune on"
there() { for name in "$@"; do case " $detectors " in *" $name "*) echo "$name" ;; esac; done; }
naive() {  # NAME MEMBERS...
    local names
    names=$(there "${@:2}")
    [ -n "$names" ] || return 0
    made "$home/weights/$1.toml" quorum learn weights $(printf "$home/tune/%s.parquet " $names) "${truth[@]}" \
        --images "$home/lists/tune-1.txt" -o "$home/weights/$1.toml"
    for split in tune test; do
        made "$home/$split-groups/$1.parquet" quorum fuse $(printf "$home/$split/%s.parquet " $names) \
            --recipe mmfruit-naive --weights "$home/weights/$1.toml" --member "$1" -o "$home/$split-groups/$1.parquet"
    done
}
mkdir -p "$home"/{weights,tune-groups,test-groups,tune-all,test-all}
naive sibling class-aware class-aware-1
naive plain plain
naive dh dh dh-1
naive decoupled decoupled
naive cascade4 cascade4
naive sampled augmented full-class
naive weak weak
first_sixteen() { there plain class-aware class-aware-1 dh dh-1; }
made "$home/weights/first.toml" quorum learn weights $(printf "$home/tune/%s.parquet " $(first_sixteen)) \
    "${truth[@]}" --images "$home/lists/tune-1.txt" -o "$home/weights/first.toml"
made "$home/test-all/naive-1-16.parquet" quorum fuse $(printf "$home/test/%s.parquet " $(first_sixteen)) \
    --recipe mmfruit-naive --weights "$home/weights/first.toml" -o "$home/test-all/naive-1-16.parquet"

say "5. The best tree over the groups, searched on the first list, verified on the second"
made "$home/search/report.md" quorum search "$home"/tune-groups/*.parquet "${truth[@]}" --splits "$home/lists" \
    --split tune-1,tune-2 --budget "$trials" --workers 2 --learn calibration --resume -o "$home/search"
for split in tune test; do
    made "$home/$split-all/mixed.parquet" quorum fuse "$home/$split-groups"/*.parquet \
        --recipe "$home/search/best.toml" --member mixed -o "$home/$split-all/mixed.parquet"
done

say "6. The expert's categories, and what comes together"
made "$home/experts.toml" quorum learn experts "$home"/tune-all/mixed.parquet "$home/tune/expert.parquet" \
    "${truth[@]}" --images "$home/tune.txt" -o "$home/experts.toml"
made "$home/relations.toml" quorum learn relations -g "$files/boxes.csv" --image-labels "$files/labels.csv" \
    --class-descriptions "$files/classes.csv" --images "$home/models.txt" -o "$home/relations.toml" --top 5
for split in tune test; do
    all=$home/$split-all
    made "$all/given.parquet" quorum fuse "$all/mixed.parquet" "$home/$split/expert.parquet" --method select_experts \
        --experts "$home/experts.toml" --mode add -o "$all/given.parquet"
    made "$all/experts.parquet" quorum fuse "$all/given.parquet" --method adj_nms --member mixed \
        -o "$all/experts.parquet"
done
made "$home/calibration.toml" quorum learn calibration "$home/tune-all/experts.parquet" -g "$files/boxes.csv" \
    --image-labels "$files/labels.csv" --class-descriptions "$files/classes.csv" --images "$home/tune.txt" --target 0.5 \
    -o "$home/calibration.toml"
all=$home/test-all
made "$all/together.parquet" quorum fuse "$all/experts.parquet" --method cooccurrence \
    --calibration "$home/calibration.toml" --relations "$home/relations.toml" -o "$all/together.parquet"
made "$all/related.parquet" quorum fuse "$all/together.parquet" --method surround \
    --relations "$home/relations.toml" -o "$all/related.parquet"

say "7. Boxes refined, the best $boxes of each picture masked by four voters"
made "$all/refined.parquet" quorum predict "$home/runs/refiner" --data "$(data test)" \
    --boxes "$all/related.parquet" -o "$all/refined.parquet"
mkdir -p "$home/masks"
best() { made "$2" quorum fuse "$1" --method concat --max-per-image "$boxes" --member boxes -o "$2"; }
best "$all/refined.parquet" "$home/masks/boxes.parquet"
best "$all/related.parquet" "$home/masks/loose-boxes.parquet"
voter() {  # NAME MEMBER BOXES MORE...
    made "$home/masks/$1.parquet" quorum predict "$home/runs/$2" --data "$(data test)" \
        --boxes "$home/masks/$3.parquet" -o "$home/masks/$1.parquet" "${@:4}"
}
export QUORUM_THREADS=1
some() {
    voter hrnet-200-300 hrnet-200-300 boxes
    voter hrnet-112 hrnet-112 boxes
    voter loose-200-300 hrnet-200-300 loose-boxes
}
beside some
voter hrnet-256 hrnet-256 boxes
voter hrnet-256-flip hrnet-256 boxes --flip
both
unset QUORUM_THREADS
made "$home/masks/voted.parquet" quorum fuse "$home/masks/boxes.parquet" "$home"/masks/hrnet-*.parquet \
    --method vote_masks -o "$home/masks/voted.parquet"

say "8. Classes above, by the tree; all of it on pictures that nothing was chosen on, and the differences, paired"
files=$home/test/openimages
tree=(--hierarchy "$files/hierarchy.json" --class-descriptions "$files/classes.csv")
expanded() {  # TABLE...: into the folder expanded, or masked of those with masks
    for table in "$@"; do
        local folder=expanded
        case $table in "$home"/masks/*) folder=masked ;; esac
        made "$home/$folder/${table##*/}" quorum --quiet fuse "$table" --method expand_hierarchy "${tree[@]}" \
            -o "$home/$folder/${table##*/}"
    done
}
mkdir -p "$home"/{expanded,masked}
expanded "$home"/test/*.parquet "$all"/{naive-1-16,mixed,experts,together,related,refined}.parquet
expanded "$home"/masks/{hrnet-*,voted,loose-200-300}.parquet
test=(-g "$files/boxes.csv" $(named_files "$files") --hierarchy "$files/hierarchy.json")
quorum leaderboard "$home"/expanded/*.parquet "${test[@]}" -o "$home/leaderboard"
segm=("${test[@]}" --masks "$files/masks.csv" --iou-type segm)
quorum leaderboard "$home"/masked/*.parquet "${segm[@]}" -o "$home/leaderboard-masks"
compare() {  # A B MORE...
    quorum compare "$home/$1.parquet" "$home/$2.parquet" --no-per-category "${@:3}"
}
compare expanded/naive-1-16 expanded/mixed "${test[@]}"
for pair in "mixed experts" "experts together" "together related" "related refined" "naive-1-16 refined"; do
    compare "expanded/${pair% *}" "expanded/${pair#* }" "${test[@]}"
done
for name in 200-300 112 256 256-flip; do compare "masked/hrnet-$name" masked/voted "${segm[@]}"; done
compare masked/loose-200-300 masked/hrnet-200-300 "${segm[@]}"

say "9. Both submissions, written and checked"
submit() {  # FORMAT TABLE
    local list=(-g "$files/images.csv" --class-descriptions "$files/classes.csv")
    made "$home/submission/$1.csv" quorum submit "$2" --format "openimages-$1" "${list[@]}" -o "$home/submission/$1.csv"
    quorum submit --check "$home/submission/$1.csv" "${list[@]}"
}
mkdir -p "$home/submission"
submit detection "$home/expanded/related.parquet"
submit segmentation "$home/masked/voted.parquet"
