"""Texts, tokenizers, shards and the sequences that trainers and validators read: numpy only."""

from emerit.data.bpe import BpeTokenizer
from emerit.data.corpus import (
    CorpusSplit,
    Document,
    Part,
    SplitPlan,
    Text,
    TextFile,
    default_corpus_files,
    find_corpus,
    find_files,
    plan_split,
    read_corpus,
    read_files,
    split_documents,
)
from emerit.data.dataset import Dataset, Fetch, ShardReader
from emerit.data.entropy import entropy_of, token_counts, unigram_entropy
from emerit.data.shards import (
    Shard,
    ShardedCorpus,
    build_shards,
    cut_sequences,
    cut_shards,
    least_corpus_tokens,
    shard_corpus,
    stream_shards,
    token_stream,
)
from emerit.data.tokens import ByteTokenizer, Tokenizer, Tokens, bits_per_byte

__all__ = [
    "BpeTokenizer",
    "ByteTokenizer",
    "CorpusSplit",
    "Dataset",
    "Document",
    "Fetch",
    "Part",
    "Shard",
    "ShardReader",
    "ShardedCorpus",
    "SplitPlan",
    "Text",
    "TextFile",
    "Tokenizer",
    "Tokens",
    "bits_per_byte",
    "build_shards",
    "cut_sequences",
    "cut_shards",
    "default_corpus_files",
    "entropy_of",
    "find_corpus",
    "find_files",
    "least_corpus_tokens",
    "plan_split",
    "read_corpus",
    "read_files",
    "shard_corpus",
    "split_documents",
    "stream_shards",
    "token_counts",
    "token_stream",
    "unigram_entropy",
]
