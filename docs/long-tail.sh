#!/usr/bin/env bash
# A long tail from nothing, in plain commands: draw the data, train a member of each LVIS report, label pictures that
# have no labels, retrain the classifiers, look at several sizes, merge and fuse, measure, submit. It needs the extra
# `zoo`; all members have their small form. docs/long-tail.md says what each step is.
#
#   docs/long-tail.sh [FOLDER] [STEPS] [SCORE]
#
# FOLDER is "tail" when not given and may hold what an earlier call has finished; each training has STEPS steps (600);
# pseudo labels have at least SCORE (0.8).
set -euo pipefail
tail=${1:-tail} steps=${2:-600} score=${3:-0.8}
mkdir -p "$tail"

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }
once() { [ -e "$tail/$1.done" ] || { "${@:2}" && touch "$tail/$1.done"; }; }

say "1. Pictures by a power law of categories, annotated as LVIS is; more of them without annotations"
scenery=(--size 96 --categories 64 --tail 1.5 --rare 0.0015 --common 0.013 --clutter 1 --noise 0.5 --groups 0.03)
once train quorum zoo scenes "$tail/train" --images 600 --seed 0 "${scenery[@]}"
once val quorum zoo scenes "$tail/val" --images 200 --seed 1 --drawn-tail 0.5 "${scenery[@]}"
once unlabelled quorum zoo scenes "$tail/unlabelled" --images 600 --seed 2 "${scenery[@]}"
data() { echo "lvis:$tail/$1/lvis.json,$tail/$1/images,name=$1,split=$1"; }
truth=$tail/val/lvis.json

say "2. A member of each report"
small=(--scale tiny --set 'data.short=[96]' --set data.long=128 --set 'train.segments=[]' --set train.steps="$steps")
learn() { once "$1" quorum train "$2" --data "$(data train)" -o "$tail/runs/$1" --resume "${small[@]}" "${@:3}"; }
learn lvistraveler lt_r50_rfs
learn alibaba ab_repr

say "3. Pseudo labels: what one of them is sure of, in pictures with something rare"
pictures=$tail/unlabelled
once seen quorum predict "$tail/runs/alibaba" --data "coco:$pictures/instances.json,$pictures/images" \
    -o "$tail/unlabelled.parquet"
once pseudo quorum zoo pseudo-label "$tail/unlabelled.parquet" -g "$tail/train/lvis.json" \
    --images "$pictures/instances.json" --having-rare --score "$score" -o "$tail/pseudo.json"

say "4. Classifiers retrained: balanced group softmax, and two of them with a sampler each and pseudo labels"
learn lvistraveler-gs lt_r50_rfs --set 'classifier={"kind": "GroupSoftmax"}' \
    --set 'train.freeze=["backbone", "neck", "rpn"]' --set train.init_from="$tail/runs/lvistraveler"
learn alibaba-double ab_unlabeled --set train.init_from="$tail/runs/alibaba" \
    --data "coco:$tail/pseudo.json,$pictures/images,name=unlabeled"

say "5. Several sizes, mirrored too; each member's views merged as its report says"
quorum split "$truth" --shares learn=0.5,measure=0.5 -o "$tail/halves"
views() {
    once "$1-views" quorum predict "$tail/runs/$1" --data "$(data val)" --views 96,128,160 --flip \
        -o "$tail/tables/$1-views.parquet"
    quorum learn scales "$tail/tables/$1-views.parquet" -g "$truth" --protocol lvis \
        --images "$tail/halves/learn.txt" -o "$tail/$1.toml"
    quorum fuse "$tail/tables/$1-views.parquet" --recipe "$2" --scales "$tail/$1.toml" --vote-masks \
        -o "$tail/tables/$1.parquet"
}
views lvistraveler-gs lvistraveler-tta
views alibaba-double alibaba-tta

say "6. Both fused, measured by the LVIS protocol on the other half, and written for the server"
members=("$tail/tables/lvistraveler-gs.parquet" "$tail/tables/alibaba-double.parquet")
quorum fuse "${members[@]}" --method vote_masks -o "$tail/tables/fused.parquet"
quorum leaderboard "${members[@]}" "$tail/tables/fused.parquet" -g "$truth" --protocol lvis --iou-type segm \
    --images "$tail/halves/measure.txt" -o "$tail/board.md"
quorum submit "$tail/tables/fused.parquet" --format lvis --iou-type segm --split val --algorithm long-tail \
    -g "$truth" -o "$tail/submission"
quorum submit --check "$tail"/submission/*.zip --format lvis --iou-type segm -g "$truth"
