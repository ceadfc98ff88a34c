"""Writes programs of PyTorch that cannot be ONNX: run under the training environment, with the folder that they go to.

They know the words ``good`` (3) and ``fine`` (1). ``raise`` makes them raise, ``hang`` never lets them answer.
"""

import pathlib
import sys
import warnings

import torch


class Rater(torch.nn.Module):
    """TorchScript: a program over texts and a dictionary."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.worth: dict[str, float] = {"good": 3.0, "fine": 1.0}
        self.bias = torch.nn.Parameter(torch.tensor(bias))

    def forward(self, text: list[str], features: torch.Tensor) -> tuple[torch.Tensor, list[str], torch.Tensor]:
        totals: list[float] = []
        for one in text:
            if one == "raise":
                raise ValueError("no such text")
            turns = 0
            while one == "hang":
                turns += 1
            total = float(turns)
            for word in one.split(" "):
                if word in self.worth:
                    total += self.worth[word]
            totals.append(total)
        score = torch.tensor(totals) + features.sum(1) + self.bias
        label: list[str] = []
        for value in score:
            label.append("liked" if float(value) > 2.0 else "böse")  # noqa: PERF401  # TorchScript has no such comprehension
        return score, label, torch.stack([score, 2.0 * score], 1)


class Doubler(torch.nn.Module):
    """What torch.export takes."""

    def forward(self, x: torch.Tensor, user_id: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": x.sum(1) + user_id, "double": x * 2}


def main(target: str) -> None:
    """Write ``torch`` with a bias of 0, ``torch-10`` with one of 10, and ``exported``."""
    warnings.simplefilter("ignore")  # TorchScript is no longer recommended, and still what people have
    folder = pathlib.Path(target)
    for name, bias in (("torch", 0.0), ("torch-10", 10.0)):
        (folder / name).mkdir()
        torch.jit.script(Rater(bias).eval()).save(str(folder / name / "model.pt"))
    (folder / "exported").mkdir()
    rows = torch.export.Dim("rows")
    asked, shapes = (torch.zeros(2, 3), torch.tensor([1, 2])), ({0: rows}, {0: rows})
    torch.export.save(torch.export.export(Doubler(), asked, dynamic_shapes=shapes), folder / "exported" / "model.pt2")


if __name__ == "__main__":
    main(sys.argv[1])
