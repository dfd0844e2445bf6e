"""What one session costs each network: ``python -m benchmarks.training_costs [--cuda]``.

Prints the table of ``heimdall_core.jobs.training_costs``: parameters, bytes that the forward pass of one
session keeps for the backward pass, and its floating-point operations. With ``--cuda`` also the peak of the
accelerator's memory in whole training steps, beside what the table foretells.
"""

import argparse

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from heimdall_core.domain.spec import BACKBONES
from heimdall_core.jobs.training_costs import Cost, step_bytes
from heimdall_core.networks.localization import LocalizationNet

NUM_RECEIVERS, NUM_SESSIONS, NUM_STEPS = 7, 4, 3
ORIGIN = (45.0, 7.5)


def measure(backbone: str) -> Cost:
    """Of one session that seven receivers heard, in float32."""
    net = LocalizationNet(NUM_RECEIVERS, backbone, origin=ORIGIN).train()
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(NUM_SESSIONS, NUM_RECEIVERS, 128, 32)
    with saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as flops:
        out = net.plane(x)
    del out
    return Cost(
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        activation_bytes=sum(kept.values()) // NUM_SESSIONS,
        flops=flops.get_total_flops() // NUM_SESSIONS,
    )


def peak_on_cuda(backbone: str, batch_size: int) -> int:
    """Bytes that torch has reserved after a few steps with AdamW."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    net = LocalizationNet(NUM_RECEIVERS, backbone, origin=ORIGIN).train().cuda()
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(NUM_STEPS):
        x = torch.randn(batch_size, NUM_RECEIVERS, 128, 32, device="cuda")
        prediction = net.plane(x)
        (prediction.mean_km.square().mean() + prediction.sigma_km.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_reserved()


def main() -> None:
    """Prints a line for each network."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cuda", action="store_true")
    chosen = arguments.parse_args()
    for backbone in BACKBONES:
        cost = measure(backbone)
        print(f'    "{backbone}": {cost!r},', flush=True)
        if chosen.cuda:
            for batch_size in (8, 64, 256):
                foretold = step_bytes(backbone, batch_size, NUM_RECEIVERS)
                peak = peak_on_cuda(backbone, batch_size)
                print(f"        batch {batch_size}: {peak / 1e6:.0f} MB, foretold {foretold / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
