"""Optical flow estimators, used to supervise and to check motion fields."""

from internet.flow.cache import FlowCache
from internet.flow.deepflow import deepflow
from internet.flow.dis import dis_flow, dis_flow_pair
from internet.flow.estimators import FlowEstimator, flow_estimator
from internet.flow.raft import Raft

__all__ = ["FlowCache", "FlowEstimator", "Raft", "deepflow", "dis_flow", "dis_flow_pair", "flow_estimator"]
