# PaddleNLP: its Trainer teaches a small BERT to read scikit-learn's digits as 64 tokens of 17 greys.
"""Usage: python nlp_digits.py [--device xpu|cpu and any other option of paddlenlp's TrainingArguments]

Trains, evaluates, predicts, and exports a program for Paddle Inference to inference/nlp."""

from __future__ import annotations

import sys

import numpy as np
import paddle
from paddlenlp.trainer import PdArgumentParser, Trainer, TrainingArguments
from paddlenlp.transformers import BertConfig, BertForSequenceClassification
from sklearn.datasets import load_digits

TRAIN = 1440
DEFAULTS = [
    "--output_dir", "output/nlp", "--device", "xpu", "--do_train", "--do_eval", "--num_train_epochs", "6",
    "--per_device_train_batch_size", "32", "--per_device_eval_batch_size", "64", "--learning_rate", "0.003",
    "--logging_steps", "45", "--seed", "1", "--disable_tqdm", "true", "--save_strategy", "no",
    "--report_to", "none",
]  # fmt: skip


class Digits(paddle.io.Dataset):
    """Digits as tokens: {"input_ids": 64 integers of 1..17, "labels": the digit}."""

    def __init__(self, start: int, end: int) -> None:
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))[start:end]
        self.tokens = digits.images[order].reshape(-1, 64).astype("int64") + 1
        self.labels = digits.target[order].astype("int64")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return {"input_ids": self.tokens[number], "labels": self.labels[number]}


def accuracy(prediction) -> dict[str, float]:
    """Share of digits that were read correctly."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main() -> None:
    """Trains and exports."""
    (arguments,) = PdArgumentParser(TrainingArguments).parse_args_into_dataclasses([*DEFAULTS, *sys.argv[1:]])
    paddle.set_device(arguments.device)
    config = BertConfig(
        vocab_size=18, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=10,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    rng = np.random.default_rng(1)  # the same first weights on every device
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.set_value(rng.normal(0, 0.05, weight.shape).astype("float32"))
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Digits(0, TRAIN),
        eval_dataset=Digits(TRAIN, 1797),
        compute_metrics=accuracy,
    )
    trainer.train()
    print(trainer.evaluate())
    model.eval()
    tokens = paddle.static.InputSpec([None, 64], "int64", "input_ids")
    paddle.jit.save(paddle.jit.to_static(model, input_spec=[tokens]), "inference/nlp/model")


if __name__ == "__main__":
    main()
