"""What tf-yarn's worker did around an experiment: meet the others, wrap the model, split the data."""

import os

import torch
from experiment import main_fn, make_dataset, make_model
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def main() -> None:
    """Run the experiment as one rank of many."""
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")  # RANK, WORLD_SIZE, MASTER_ADDR
    rank, local_rank = distributed.get_rank(), int(os.environ["LOCAL_RANK"])
    device = f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
    dataset = make_dataset()
    loader = DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset))
    main_fn(DistributedDataParallel(make_model().to(device)), loader, device, rank)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
