// Virtual tokens: rows that are trained in place of what a vocabulary's embedding gives, and stand before
// every document (prompt tuning: Lester et al., arXiv 2104.08691), or keys and values that are trained, which
// every token sees in every block beside those of its document (prefix tuning: Li & Liang, arXiv 2101.00190).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/batch.hpp"

namespace collie {

enum class PromptKind : uint8_t {
  none,
  embeddings,  // [tokens, hidden], which the embedding looks up
  prefix,      // of every block, keys and values [tokens, kv_heads · head_dim] each
};

// What makes the rows of virtual tokens from those that are trained (models/prompt_encoder.hpp).
enum class EncoderKind : uint8_t {
  none,
  mlp,         // of P-tuning: three matrices with ReLU between them
  lstm,        // of P-tuning: layers of an LSTM in both directions, and two matrices with ReLU between them
  projection,  // of a prefix: two matrices with tanh between them
};
struct EncoderSettings {
  EncoderKind kind = EncoderKind::none;
  int64_t hidden = 0;  // inner width; of an LSTM, of each direction
  int64_t layers = 2;  // of the LSTM
  double dropout = 0;  // between these
  bool operator==(const EncoderSettings&) const = default;
};

struct SoftPrompt {
  PromptKind kind = PromptKind::none;
  int64_t tokens = 0;  // v
  // [tokens] of the vocabulary, as whose embeddings the rows begin; empty: normal, of deviation 1.
  std::vector<int32_t> start_ids = {};
  EncoderSettings encoder = {};

  bool exists() const { return kind != PromptKind::none; }
  bool has_encoder() const { return encoder.kind != EncoderKind::none; }
  // How many tokens more a document has: those of a prefix are no tokens, but keys and values alone.
  int64_t in_document() const { return kind == PromptKind::prefix ? 0 : tokens; }
  bool operator==(const SoftPrompt&) const = default;
};

// The names of what is trained. Hugging Face's peft has one tensor of the first name; the engine has a part
// of it for each block that a prefix is of, [2 tokens, kv_heads · head_dim]: keys, and values below them. The
// parameters of an encoder have names of their own.
constexpr const char* prompt_tensor = "prompt_embeddings";
std::string prefix_tensor(int64_t block);

// The batch as a model with the prompt computes it. A document that is a beginning (`begins` [documents];
// empty: all are) gets the virtual tokens before its own. Their ids follow those of the vocabulary, and they
// are no targets. A token's position counts them, also where they stand in an earlier batch (decoding), or
// are a prefix. What else the batch has, its numbers of documents and its targets, stays.
//
// A piece of a longer document begins a context of its own, and so has the virtual tokens, too.
MicroBatch with_prompt(const MicroBatch& batch, const SoftPrompt& prompt, int64_t vocabulary,
                       const std::vector<bool>& begins = {});

// How many tokens it has then, if all documents are beginnings.
size_t tokens_with_prompt(const MicroBatch& batch, const SoftPrompt& prompt);

}  // namespace collie
