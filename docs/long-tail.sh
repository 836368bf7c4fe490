#!/usr/bin/env bash
# A long tail from nothing, in plain commands: train a member by each of the two LVIS reports, pseudo-label pictures
# without annotations, retrain the classifiers, predict at several sizes, fuse by the reports' recipes, measure by the
# LVIS protocol, submit. It needs the extra `zoo`.
#
#   docs/long-tail.sh [FOLDER]      (FOLDER is made anew; "long-tail" when not given; before it, if need be:
#                                    IMAGES=450 to train on, STEPS=300 of each training, SCORE=0.2 of pseudo labels)
set -euo pipefail
home=${1:-long-tail} images=${IMAGES:-450} steps=${STEPS:-300} score=${SCORE:-0.2}
rm -rf "$home"
mkdir -p "$home/tables"

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }
data() { echo "lvis:$home/$1/lvis.json,$home/$1/images,split=$1"; }

say "1. Pictures of 64 categories with a long tail; those to measure on have all categories about as often"
scenery=(--size 96 --categories 64 --tail 1.5 --rare 0.0015 --common 0.013 --clutter 1 --noise 0.5)
quorum zoo scenes "$home/train" --images "$images" --seed 0 "${scenery[@]}"
quorum zoo scenes "$home/val" --images $((images / 3)) --seed 1 "${scenery[@]}" --drawn-tail 0.5
quorum zoo scenes "$home/unlabeled" --images $((images / 2)) --seed 2 "${scenery[@]}" --drawn-tail 0.5
quorum zoo scenes "$home/test" --images $((images / 10)) --seed 3 "${scenery[@]}" --drawn-tail 0.5
quorum split "$home/val/lvis.json" --shares learn=0.5,verify=0.5 -o "$home/splits"

say "2. Representation learning: the strong baselines of both reports, each in its small form"
train() {  # MEMBER VARIANT STEPS MORE...
    quorum train "$2" --scale tiny -o "$home/runs/$1" --data "$(data train)" --set 'data.short=[96]' \
        --set data.long=128 --set train.steps="$3" --set "train.milestones=[$(($3 * 3 / 4))]" "${@:4}"
}
train traveler lt_s101_tricks "$steps"
train alibaba ab_repr "$steps"

say "3. Pseudo labels on pictures without annotations"
quorum predict "$home/runs/alibaba" --data "$(data unlabeled)" -o "$home/unlabeled.parquet"
quorum zoo pseudo-label "$home/unlabeled.parquet" -g "$home/train/lvis.json" --images "$home/unlabeled/lvis.json" \
    --score "$score" -o "$home/pseudo.json"

say "4. Classifier retraining from these weights: what the reports freeze is frozen"
train traveler-2 lt_s101_gs_hm $((steps / 2)) --set train.init_from="$home/runs/traveler"
train alibaba-2 ab_unlabeled $((steps / 2)) --set train.init_from="$home/runs/alibaba" \
    --data "coco:$home/pseudo.json,$home/unlabeled/images,name=unlabeled"

say "5. What both find at three sizes, each also mirrored"
for split in val test; do
    for member in traveler-2 alibaba-2; do
        quorum predict "$home/runs/$member" --data "$(data $split)" --views 72x96,96x128,128x171 --flip \
            -o "$home/tables/$member-$split.parquet"
    done
done

say "6. Which sizes to trust for which objects, learned on one half; then the reports' recipes"
for member in traveler-2 alibaba-2; do
    quorum learn scales "$home/tables/$member-val.parquet" -g "$home/val/lvis.json" --protocol lvis --iou-type segm \
        --sides 16,32 --rare-boost 1.1 --images "$home/splits/learn.txt" -o "$home/$member.toml"
done
fuse() {  # SPLIT
    # masks of the sizes that Eq. 1 chooses
    quorum fuse "$home/tables/traveler-2-$1.parquet" --recipe lvistraveler-tta --scales "$home/traveler-2.toml" \
        --vote-masks -o "$home/lvistraveler-tta-$1.parquet"
    # boxes first; the mask heads draw them at each size, and all vote
    quorum fuse "$home/tables/alibaba-2-$1.parquet" --recipe alibaba-tta --scales "$home/alibaba-2.toml" \
        -o "$home/alibaba-merged-$1.parquet"
    quorum fuse "$home/alibaba-merged-$1.parquet" --method concat --max-per-image 60 -o "$home/alibaba-boxes-$1.parquet"
    quorum predict "$home/runs/alibaba-2" --data "$(data "$1")" --views 72x96,96x128,128x171 --flip \
        --boxes "$home/alibaba-boxes-$1.parquet" -o "$home/alibaba-masks-$1.parquet"
    quorum fuse "$home/alibaba-boxes-$1.parquet" "$home/alibaba-masks-$1.parquet" --method vote_masks \
        -o "$home/alibaba-tta-$1.parquet"
    quorum fuse "$home/lvistraveler-tta-$1.parquet" "$home/alibaba-tta-$1.parquet" --method nms_then_soft \
        --vote-masks -o "$home/both-$1.parquet"
}
fuse val
fuse test

say "7. Masks by the LVIS protocol, on the half that nothing was learned on"
for member in traveler alibaba traveler-2 alibaba-2; do
    quorum predict "$home/runs/$member" --data "$(data val)" -o "$home/$member.parquet"
done
quorum leaderboard "$home"/{traveler,alibaba,traveler-2,alibaba-2}.parquet \
    "$home"/{lvistraveler-tta,alibaba-tta,both}-val.parquet -g "$home/val/lvis.json" --protocol lvis --iou-type segm \
    --images "$home/splits/verify.txt" -o "$home/leaderboard"

say "8. The test pictures' answer as the file that LVIS takes, checked"
quorum submit "$home/both-test.parquet" --format lvis --iou-type segm --split scenes-test --algorithm quorum \
    -g "$home/test/lvis.json" -o "$home/submission"
quorum submit --check "$home"/submission/*.zip --format lvis -g "$home/test/lvis.json"
