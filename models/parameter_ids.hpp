// Where the parameters of the parts of a model stand in its list.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "models/parameter.hpp"

namespace collie {

inline constexpr ParameterId no_parameter = -1;

// A low-rank adapter of a matrix (adapters.hpp), of which a rank holds a part.
struct LowRankIds {
  ParameterId a = no_parameter, b = no_parameter;  // [rank, in], [out, rank]
  double scale = 1, dropout = 0;
  std::string place;         // of its dropout, in the model
  int64_t first_column = 0;  // of the matrix's input, where the ranks share it
  // [out], of the rows of W + scale B A. Where the ranks share the input, each has a part of every row.
  ParameterId magnitude = no_parameter;
  bool shares_rows = false;
  ParameterId values = no_parameter;  // [rank, 1] of triplets
  double orthogonality = 0;           // LowRankAdapter::orthogonality
  // The first rows of A and of B, for which this rank stands, where others have the same.
  int64_t primary_rows_of_a = 0, primary_rows_of_b = 0;
};

// A vector that multiplies what a matrix reads or gives (adapters.hpp).
struct VectorIds {
  ParameterId factors = no_parameter;  // [1, in] or [out, 1]
  bool of_input = false;

  bool exists() const { return factors != no_parameter; }
};

struct MatrixIds {
  ParameterId weight = no_parameter, bias = no_parameter;
  std::vector<LowRankIds> adapters = {};
  VectorIds vector = {};
  bool is_quantised = false;

  bool exists() const { return weight != no_parameter; }
  MatrixIds without_bias() const { return {weight, no_parameter, adapters, vector, is_quantised}; }
};

struct NormIds {
  ParameterId weight = no_parameter, bias = no_parameter;
  bool trained = true;  // one of the two at least
};

// A bottleneck (adapters.hpp), whole on every rank.
struct BottleneckIds {
  MatrixIds down, up;  // [size, hidden], [hidden, size]
};

// Keys and values of virtual tokens that every token sees (soft_prompt.hpp).
struct PrefixIds {
  ParameterId id = no_parameter;  // none: an encoder gives it
  int64_t tokens = 0;
  int64_t block = 0;  // of the model

  bool exists() const { return tokens > 0; }
};

// A direction of a layer of an LSTM.
struct LstmIds {
  ParameterId input = no_parameter, hidden = no_parameter;            // [4 hidden, in], [4 hidden, hidden]
  ParameterId input_bias = no_parameter, hidden_bias = no_parameter;  // [4 hidden]
};

// Rows of virtual tokens, and what encodes them, if anything does (prompt_encoder.hpp).
struct PromptIds {
  ParameterId rows = no_parameter;
  std::vector<std::array<LstmIds, 2>> lstm = {};  // the layers, each in both directions
  std::vector<MatrixIds> matrices = {};
  std::vector<int64_t> widths = {};  // [matrices] of what each gives

  bool exists() const { return rows != no_parameter; }
  bool has_encoder() const { return !matrices.empty(); }
};

struct BlockIds {
  MatrixIds q, k, v;                               // stored as three parameters,
  MatrixIds qkv;                                   // or as one: the rows of q, k and v
  MatrixIds o;                                     // of attention's output
  NormIds q_norm, k_norm;                          // of heads, where the model has them
  MatrixIds gate;                                  // of a gated MLP: stored as one parameter of its own,
  MatrixIds gate_up;                               // or as one with up, whose rows stand below its
  MatrixIds up, down;                              // of the MLP
  NormIds attention_norm, mlp_norm;                // of what they read, where there is one
  NormIds attention_output_norm, mlp_output_norm;  // of what they give
  BottleneckIds attention_bottleneck, mlp_bottleneck;
  PrefixIds prefix;
};

struct EmbeddingIds {
  ParameterId tokens = no_parameter;
  ParameterId positions = no_parameter;  // where positions are learned
  PromptIds prompt;                      // of virtual tokens (soft_prompt.hpp)
};

}  // namespace collie
