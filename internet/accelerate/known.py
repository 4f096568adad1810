"""The models whose modules are recognised, in the order in which they are tried."""

from internet.accelerate import articulated, face_vid2vid, first_order, lia, live_portrait, thin_plate

PEERS = (first_order.PEER, articulated.PEER, thin_plate.PEER, lia.PEER, face_vid2vid.PEER, live_portrait.PEER)
