"""Distributed training on blind-sweep obstetric ultrasound (BSOU) clips."""

__version__ = "0.1.0"
