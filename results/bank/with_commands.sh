# The same job as commands: sh with_commands.sh TASKS FIRST SECOND
set -e
MODEL="--bank bank --model resnet_cifar:resnet56"
hypertail learn "$1/$2/train" --task "$2" $MODEL --cut layer3 --image-size 32
hypertail learn "$1/$3/train" --task "$3" $MODEL
hypertail predict "$1/$2/test" $MODEL --json > answers.jsonl
hypertail certify $MODEL --out certificate.json certificate.html
hypertail export "$2" $MODEL --format onnx
hypertail forget "$3" $MODEL
