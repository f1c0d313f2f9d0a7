"""Answers as local servers give them, shortened. Sources: the servers' API documentation."""

from __future__ import annotations

from typing import Any

OLLAMA_VERSION = {"version": "0.13.2"}
OLLAMA_TAGS: dict[str, Any] = {
    "models": [
        {
            "name": "gemma3:4b",
            "model": "gemma3:4b",
            "modified_at": "2026-08-17T10:20:11.52+02:00",
            "size": 3338801804,
            "digest": "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "gemma3",
                "families": ["gemma3"],
                "parameter_size": "4.3B",
                "quantization_level": "Q4_K_M",
            },
        },
        {
            "name": "nomic-embed-text:latest",
            "model": "nomic-embed-text:latest",
            "size": 274302450,
            "details": {"format": "gguf", "family": "nomic-bert", "parameter_size": "137M"},
        },
        {
            "name": "gpt-oss:120b-cloud",
            "model": "gpt-oss:120b-cloud",
            "remote_model": "gpt-oss:120b",
            "remote_host": "https://ollama.com:443",
            "size": 384,
            "details": {"format": "", "family": "gptoss", "parameter_size": "116.8B"},
        },
    ]
}
OLLAMA_SHOW: dict[str, Any] = {
    "license": "Gemma Terms of Use",
    "modelfile": "FROM /models/blobs/sha256-aeda25e6\nPARAMETER temperature 1\n",
    "parameters": 'stop                     "<end_of_turn>"\ntemperature              1',
    "template": "{{- range .Messages }}{{ .Content }}{{ end }}",
    "details": {"format": "gguf", "family": "gemma3", "parameter_size": "4.3B"},
    "model_info": {
        "gemma3.attention.head_count": 8,
        "gemma3.context_length": 131072,
        "gemma3.embedding_length": 2560,
        "gemma3.vision.embedding_length": 1152,
        "general.architecture": "gemma3",
        "general.parameter_count": 4299915632,
        "tokenizer.ggml.tokens": None,
    },
    "capabilities": ["completion", "vision"],
    "modified_at": "2026-08-17T10:20:11.52+02:00",
}
OLLAMA_SHOW_EMBEDDING: dict[str, Any] = {
    "model_info": {"nomic-bert.context_length": 2048, "general.parameter_count": 136727040},
    "capabilities": ["embedding"],
}
OLLAMA_PS: dict[str, Any] = {
    "models": [
        {
            "name": "gemma3:4b",
            "model": "gemma3:4b",
            "size": 6654289920,
            "details": {"format": "gguf", "family": "gemma3", "parameter_size": "4.3B"},
            "expires_at": "2026-08-17T10:38:31.83+02:00",
            "size_vram": 5333539264,
            "context_length": 32768,
        }
    ]
}
OLLAMA_MODELS = {
    "object": "list",
    "data": [{"id": "gemma3:4b", "object": "model", "created": 1755418811, "owned_by": "library"}],
}

LM_STUDIO_MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "qwen2-vl-7b-instruct",
            "object": "model",
            "type": "vlm",
            "publisher": "mlx-community",
            "arch": "qwen2_vl",
            "compatibility_type": "mlx",
            "quantization": "4bit",
            "state": "not-loaded",
            "max_context_length": 32768,
        },
        {
            "id": "meta-llama-3.1-8b-instruct",
            "object": "model",
            "type": "llm",
            "publisher": "lmstudio-community",
            "arch": "llama",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "loaded",
            "max_context_length": 131072,
            "loaded_context_length": 8192,
        },
        {
            "id": "text-embedding-nomic-embed-text-v1.5",
            "object": "model",
            "type": "embeddings",
            "state": "not-loaded",
            "max_context_length": 2048,
        },
    ],
}
LM_STUDIO_UNKNOWN_PATH = {"error": "Unexpected endpoint or method. (GET /props)"}

LLAMA_CPP_PROPS: dict[str, Any] = {
    "default_generation_settings": {
        "id": 0,
        "n_ctx": 8192,
        "speculative": False,
        "is_processing": False,
        "params": {"n_predict": -1, "temperature": 0.8, "top_k": 40},
    },
    "total_slots": 4,
    "model_path": "/models/Qwen3-4B-Q4_K_M.gguf",
    "chat_template": "{%- for message in messages %}{{ message.content }}{%- endfor %}",
    "modalities": {"vision": False, "audio": False},
    "build_info": "b7011-6515610",
}
LLAMA_CPP_MODELS: dict[str, Any] = {
    "models": [{"name": "Qwen3-4B-Q4_K_M.gguf", "capabilities": ["completion"]}],
    "object": "list",
    "data": [
        {
            "id": "Qwen3-4B-Q4_K_M.gguf",
            "object": "model",
            "created": 1763992800,
            "owned_by": "llamacpp",
            "meta": {
                "vocab_type": 2,
                "n_vocab": 151936,
                "n_ctx_train": 40960,
                "n_embd": 2560,
                "n_params": 4022468096,
                "size": 2492506112,
            },
        }
    ],
}

VLLM_MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "mistralai/Mistral-7B-Instruct-v0.3",
            "object": "model",
            "created": 1763992800,
            "owned_by": "vllm",
            "root": "mistralai/Mistral-7B-Instruct-v0.3",
            "parent": None,
            "max_model_len": 32768,
            "permission": [{"id": "modelperm-1", "object": "model_permission"}],
        },
        {
            "id": "our-lora",
            "object": "model",
            "owned_by": "vllm",
            "parent": "mistralai/Mistral-7B-Instruct-v0.3",
            "max_model_len": None,
        },
    ],
}

EVERY_ANSWER = (
    OLLAMA_VERSION, OLLAMA_TAGS, OLLAMA_SHOW, OLLAMA_SHOW_EMBEDDING, OLLAMA_PS, OLLAMA_MODELS,
    LM_STUDIO_MODELS, LM_STUDIO_UNKNOWN_PATH, LLAMA_CPP_PROPS, LLAMA_CPP_MODELS, VLLM_MODELS,
)  # fmt: skip
