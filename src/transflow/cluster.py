"""Evidence of very many pictures on a Ray cluster (see `conditioning.cluster`)."""

from transflow.conditioning.cluster import condition as condition
from transflow.conditioning.cluster import evidence as evidence
from transflow.conditioning.cluster import in_order_once as in_order_once
