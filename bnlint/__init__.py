"""bnlint finds BatchNorm mistakes in PyTorch code: in the source, and on a live model."""
