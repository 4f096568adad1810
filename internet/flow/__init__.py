"""Optical flow estimators that teach and check motion fields."""

from internet.flow.dis import dis_flow, dis_flow_pair

__all__ = ["dis_flow", "dis_flow_pair"]
