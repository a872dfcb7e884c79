"""Yaml configuration, found by Hydra as ``pkg://benchmarl_reciprocator.conf``."""
