"""EDTalk: LIA's networks, with a different encoder that is also called with only driving images."""

from torch import nn

from tests.support.peers.lia import EncoderApp, Synthesis


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net_app = EncoderApp()

    def forward(self, input_source, input_target, h_start=None):
        code, features = self.net_app(input_source)
        target, target_features = (None, None) if input_target is None else self.net_app(input_target)
        return code, target, features, target_features


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = Encoder(), Synthesis()

    def forward(self, source, driving):
        code, lips, features, _ = self.enc(source, driving, None)
        pose, _, _, _ = self.enc(driving, None)
        return self.dec(code + lips + pose, features)
