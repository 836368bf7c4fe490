#!/usr/bin/env bash
# The main job from nothing, in plain commands: make a data set, train detectors, predict, measure, search the best way
# to fuse them, vote masks, rank, submit. `make demo` runs it; it needs the extra `zoo` and four minutes of two processors.
#
#   docs/main-job.sh [FOLDER]      (FOLDER is made anew; "demo" when not given)
set -euo pipefail
demo=${1:-demo}
rm -rf "$demo"
mkdir -p "$demo"

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }
named() { while IFS= read -r line; do printf '%-15s %s\n' "$1" "$line"; done; }

# Two of the long steps run at the same time, one on each processor; whatever ends this script ends both.
beside() { set -m; { "$@"; } & other=$!; set +m; trap 'kill -- -$other 2>/dev/null || true' EXIT; }
both() { wait "$other"; trap - EXIT; }

say "1. Pictures with annotations: to train on, to search and verify on, and to submit on"
scenery=(--size 96 --categories 6 --clutter 1 --noise 0.5)
beside quorum zoo scenes "$demo/train" --images 1000 --seed 0 "${scenery[@]}"
quorum zoo scenes "$demo/val" --images 600 --seed 1 "${scenery[@]}"
quorum zoo scenes "$demo/test" --images 100 --seed 2 "${scenery[@]}"
both
data() { echo "coco:$demo/$1/instances.json,$demo/$1/images,split=$1"; }
quorum split "$demo/val/instances.json" --shares search=0.5,verify=0.5 -o "$demo/splits"

say "2. Four detectors of the zoo, each in its small form; two of them segment as well"
small=(--scale tiny --set 'data.short=[96]' --set data.long=128
    --set train.steps=500 --set 'train.milestones=[380,460]')
train() {  # MEMBER VARIANT SEED
    quorum train "$2" --data "$(data train)" --val "$(data val)" -o "$demo/runs/$1" "${small[@]}" --set train.seed="$3"
    quorum predict "$demo/runs/$1" --data "$(data test)"
}
first() { train mask-rcnn md18_r50_base 0 2>&1 | named mask-rcnn; train cascade md19_r50_cascade 2 2>&1 | named cascade; }
second() {
    train global-context md18_r50_gap 1 2>&1 | named global-context
    train high-iou md19_r50_highiou_cascade57 3 2>&1 | named high-iou
}
export QUORUM_THREADS=1
beside first
second
both
unset QUORUM_THREADS

say "3. The members' tables; one comes as a results file, as any other framework writes it"
mkdir -p "$demo/val-tables" "$demo/test-tables"
for split in val test; do
    for member in mask-rcnn global-context cascade; do
        cp "$demo/runs/$member/tables/$split.parquet" "$demo/$split-tables/$member.parquet"
    done
    quorum export coco "$demo/runs/high-iou/tables/$split.parquet" -o "$demo/high-iou-$split.json"
    quorum import "$demo/high-iou-$split.json" -g "$demo/$split/instances.json" -o "$demo/$split-tables/high-iou.parquet"
done

say "4. Search the best tree of members and operators on one half of the validation pictures, verify it on the other"
quorum search "$demo"/val-tables/*.parquet -g "$demo/val/instances.json" --splits "$demo/splits" --split search,verify \
    --budget 150 -o "$demo/search"

say "5. Fuse by what was found; then both segmenters mask the fused boxes and vote, pixel by pixel"
for split in val test; do
    quorum fuse "$demo/$split-tables"/*.parquet --recipe "$demo/search/best.toml" -o "$demo/$split-boxes.parquet"
done
masks() { quorum predict "$demo/runs/$1" --data "$(data val)" --boxes "$demo/val-boxes.parquet" -o "$demo/masks/$1.parquet"; }
export QUORUM_THREADS=1
beside masks mask-rcnn
masks global-context
both
unset QUORUM_THREADS
quorum fuse "$demo/val-boxes.parquet" "$demo"/masks/*.parquet --method vote_masks -o "$demo/fused.parquet"

say "6. Leaderboards on the pictures that the search has not seen: boxes, then masks"
verify=(-g "$demo/val/instances.json" --images "$demo/splits/verify.txt")
quorum leaderboard "$demo"/val-tables/*.parquet "$demo/fused.parquet" "${verify[@]}" -o "$demo/leaderboard"
quorum leaderboard "$demo"/val-tables/{mask-rcnn,global-context}.parquet "$demo/fused.parquet" "${verify[@]}" \
    --iou-type segm -o "$demo/leaderboard-masks"

say "7. The test pictures' answer as the file that a leaderboard takes, checked"
quorum submit "$demo/test-boxes.parquet" --format coco --split scenes-test --algorithm quorum \
    -g "$demo/test/instances.json" -o "$demo/submission"
quorum submit --check "$demo"/submission/*.zip --format coco -g "$demo/test/instances.json"

say "Done"
cat <<EOT
  pictures and annotations   $demo/train, $demo/val, $demo/test
  members and their cards    $demo/runs/*/card.md
  the search                 $demo/search/report.md, its answer $demo/search/best.toml
  leaderboards               $demo/leaderboard.md, $demo/leaderboard-masks.md
  fused detections           $demo/fused.parquet (masks voted), $demo/test-boxes.parquet
  the submission             $(ls "$demo"/submission/*.zip)
EOT
