#!/usr/bin/env bash
# The main job from nothing, in plain commands: make a data set, train detectors, predict, measure, search the best way
# to fuse them, vote masks, rank, submit. `make demo` runs it; it needs the extra `zoo` and four minutes of two processors.
#
#   docs/main-job.sh [FOLDER]      (FOLDER is made anew; "demo" when not given)
set -euo pipefail
demo=${1:-demo}
rm -rf "$demo"
mkdir -p "$demo"
export QUORUM_THREADS=${QUORUM_THREADS:-1}   # two trainings run at the same time, one on each processor

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }

say "1. Pictures with annotations: to train on, to search and verify on, and to submit on"
scenery=(--size 96 --categories 6 --clutter 1 --noise 0.5)
quorum zoo scenes "$demo/train" --images 1000 --seed 0 "${scenery[@]}" &
quorum zoo scenes "$demo/val" --images 600 --seed 1 "${scenery[@]}"
quorum zoo scenes "$demo/test" --images 100 --seed 2 "${scenery[@]}"
wait $!
data() { echo "coco:$demo/$1/instances.json,$demo/$1/images,split=$1"; }
quorum split "$demo/val/instances.json" --shares search=0.5,verify=0.5 -o "$demo/splits"

say "2. Four detectors of the zoo, each in its small form; two of them segment as well"
small=(--scale tiny --set 'data.short=[96]' --set data.long=128 --set 'infer.short=[96]' --set infer.long=128
    --set train.steps=700 --set 'train.milestones=[550,650]')
train() {  # MEMBER VARIANT OPTIONS...
    local member=$1 variant=$2
    quorum train "$variant" --data "$(data train)" --val "$(data val)" -o "$demo/runs/$member" "${small[@]}" "${@:3}"
    quorum predict "$demo/runs/$member" --data "$(data test)"
}
{ train mask-rcnn md18_r50_base; train cascade md19_r50_cascade --set train.seed=2; } &
first=$!
{ train global-context md18_r50_gap --set train.seed=1; train high-iou md19_r50_highiou_cascade57 --set train.seed=3; }
wait $first
unset QUORUM_THREADS

say "3. Search the best tree of members and operators on one half of the validation pictures, verify it on the other"
mkdir -p "$demo/val-tables" "$demo/test-tables"
for member in mask-rcnn global-context cascade high-iou; do
    cp "$demo/runs/$member/tables/val.parquet" "$demo/val-tables/$member.parquet"
    cp "$demo/runs/$member/tables/test.parquet" "$demo/test-tables/$member.parquet"
done
quorum search "$demo"/val-tables/*.parquet -g "$demo/val/instances.json" --splits "$demo/splits" --split search,verify \
    --budget 150 -o "$demo/search"

say "4. Fuse by what was found, and let the segmenters vote on the masks of the fused boxes"
segmenters=("$demo/val-tables/mask-rcnn.parquet" "$demo/val-tables/global-context.parquet")
quorum fuse "$demo"/val-tables/*.parquet --recipe "$demo/search/best.toml" -o "$demo/fused-boxes.parquet"
quorum fuse "$demo/fused-boxes.parquet" "${segmenters[@]}" --method vote_masks -o "$demo/fused.parquet"
QUORUM_THREADS=1 quorum predict "$demo/runs/mask-rcnn" --data "$(data val)" --boxes "$demo/fused-boxes.parquet" -o "$demo/two-pass.parquet"

say "5. Leaderboards on the pictures that the search has not seen: boxes, then masks"
verify=(-g "$demo/val/instances.json" --images "$demo/splits/verify.txt")
quorum leaderboard "$demo"/val-tables/*.parquet "$demo/fused.parquet" "${verify[@]}" -o "$demo/leaderboard"
quorum leaderboard "${segmenters[@]}" "$demo/fused.parquet" "$demo/two-pass.parquet" "${verify[@]}" --iou-type segm \
    -o "$demo/leaderboard-masks"

say "6. The same steps on the test pictures, and the file that a leaderboard takes"
quorum fuse "$demo"/test-tables/*.parquet --recipe "$demo/search/best.toml" -o "$demo/test-fused.parquet"
quorum submit "$demo/test-fused.parquet" --format coco --split scenes-test --algorithm quorum \
    -g "$demo/test/instances.json" -o "$demo/submission"
quorum submit --check "$demo"/submission/*.zip --format coco -g "$demo/test/instances.json"

say "Done"
cat <<EOT
  pictures and annotations   $demo/train, $demo/val, $demo/test
  members and their cards    $demo/runs/*/card.md
  the search                 $demo/search/report.md, its answer $demo/search/best.toml
  leaderboards               $demo/leaderboard.md, $demo/leaderboard-masks.md
  fused detections           $demo/fused.parquet (masks voted), $demo/two-pass.parquet (masks of one member)
  the submission             $(ls "$demo"/submission/*.zip)
EOT
