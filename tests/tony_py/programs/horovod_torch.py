"""Trains a line by Horovod and PyTorch; each process writes where it stood, the first one the line."""

import json
import os
from pathlib import Path

import horovod.torch as hvd
import torch

hvd.init(process_sets=[hvd.ProcessSet([0, 1])])
output = Path(os.environ["TONY_OUTPUT"])
place = {
    name: getattr(hvd, name)() for name in ("rank", "size", "local_rank", "local_size", "cross_rank", "cross_size")
}
place["sum"] = hvd.allreduce(torch.tensor([float(hvd.rank())]), op=hvd.Sum).item()
place["generation"] = int(os.environ["TONY_GENERATION"])
place["interface"] = os.environ["HOROVOD_GLOO_IFACE"]
(output / f"place-{hvd.rank()}.json").write_text(json.dumps(place))

torch.manual_seed(hvd.rank())  # each process has its own start and its own data: only Horovod makes them one model
model = torch.nn.Linear(2, 1)
optimizer = hvd.DistributedOptimizer(
    torch.optim.SGD(model.parameters(), lr=0.2), named_parameters=model.named_parameters()
)
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
for _ in range(60):
    rows = torch.randn(16, 2)
    loss = ((model(rows) - rows.sum(1, keepdim=True) - 0.5) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
weights = [*model.weight.flatten().tolist(), model.bias.item()]
everybody = hvd.allgather_object(weights)
if hvd.rank() == 0:
    spread = max(abs(a - b) for other in everybody for a, b in zip(other, weights, strict=True))
    names = dict(zip(("first", "second", "bias"), weights, strict=True))
    (output / "metrics.json").write_text(json.dumps({**names, "spread": spread}))
