"""The models whose modules are recognised, in the order in which they are tried."""

from internet.accelerate import first_order, lia

PEERS = (first_order.PEER, lia.PEER)
