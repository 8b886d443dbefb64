"""Texts, shards and the sequences that trainers and validators read: numpy only."""

from emerit.data.corpus import (
    CorpusSplit,
    Document,
    default_corpus_files,
    read_corpus,
    read_files,
    split_documents,
)
from emerit.data.dataset import Dataset, Fetch, ShardReader
from emerit.data.entropy import byte_counts, entropy_of, unigram_entropy
from emerit.data.shards import Shard, ShardedCorpus, build_shards, cut_sequences, cut_shards, least_corpus_bytes

__all__ = [
    "CorpusSplit",
    "Dataset",
    "Document",
    "Fetch",
    "Shard",
    "ShardReader",
    "ShardedCorpus",
    "build_shards",
    "byte_counts",
    "cut_sequences",
    "cut_shards",
    "default_corpus_files",
    "entropy_of",
    "least_corpus_bytes",
    "read_corpus",
    "read_files",
    "split_documents",
    "unigram_entropy",
]
