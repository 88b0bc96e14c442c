# SPDX-License-Identifier: MIT
"""A small language model with random weights writes text: the same tokens as natively."""
import conformance

torch = conformance.seed()
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

gpt = GPT2LMHeadModel(GPT2Config(n_layer=4, n_head=4, n_embd=128, vocab_size=1000)).cuda().eval()
prompt = torch.tensor([[11, 7, 301]], device="cuda")
conformance.save("greedy", gpt.generate(prompt, max_new_tokens=40, do_sample=False, pad_token_id=0))
torch.manual_seed(3)
conformance.save("sampled", gpt.generate(prompt, max_new_tokens=40, do_sample=True, top_k=50,
                                         pad_token_id=0))
llama = LlamaForCausalLM(LlamaConfig(hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                                     num_attention_heads=4, num_key_value_heads=2,
                                     vocab_size=1000)).cuda().half().eval()
conformance.save("llama", llama.generate(prompt, max_new_tokens=40, do_sample=False, pad_token_id=0))
