"""The same meta-iteration in PyTorch, one thread: see conv.sh.

conv_torch.py NETWORK SIDE CHANNELS WAY SUPPORT QUERY SECONDS
"""
import sys
import time

import torch
from torch import nn

torch.set_num_threads(1)
kind, side, channels, way, support, query, seconds = sys.argv[1], *map(float, sys.argv[2:])
side, channels, way, support, query = int(side), int(channels), int(way), int(support), int(query)


def layer(n, m):
    pool = kind == "conv4_pool"
    return nn.Sequential(nn.Conv2d(n, m, 3, stride=1 if pool else 2, padding=1, bias=False), nn.BatchNorm2d(m), nn.ReLU(),
                         nn.MaxPool2d(2) if pool else nn.Identity())


net = nn.Sequential(layer(channels, 64), layer(64, 64), layer(64, 64), layer(64, 64),
                    nn.Flatten() if kind == "conv4_pool" else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
xs = (torch.rand(way * support, channels, side, side) < 0.25).float()
xq = (torch.rand(way * query, channels, side, side) < 0.25).float()
labels = torch.arange(way).repeat_interleave(query)
best, start = 1e9, time.process_time()
while time.process_time() - start < seconds:
    begin = time.process_time()
    net.zero_grad()
    prototypes = net(xs).view(way, support, -1).mean(1)
    loss = nn.functional.cross_entropy(-torch.cdist(net(xq), prototypes) ** 2, labels)
    loss.backward()
    best = min(best, time.process_time() - begin)
print("torch %.1f" % (1e6 * best / (way * (support + query))))
