// Appends the parameters of one layer of one rank's stage to a list: what the rank's shard holds of each
// tensor. Names are Hugging Face's without ".weight" and ".bias".
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/model_spec.hpp"
#include "models/parameter.hpp"
#include "models/parameter_ids.hpp"
#include "models/stage_range.hpp"

namespace collie {

// How a file stores a matrix. In memory it always is [out, in].
enum class Stored { out_in, in_out };

class LayerParameters {
 public:
  LayerParameters(const ModelSpec& model, const ModelShard& shard, int layer, std::vector<Parameter>& list)
      : model_(model), config_(model.architecture), shard_(shard), layer_(layer), list_(list) {}

  const ModelConfig& config() const { return config_; }

  // [vocabulary, hidden], cut by vocabulary. These two names are whole.
  ParameterId add_vocabulary(const std::string& tensor, bool tied_copy);
  // [max_position_embeddings, hidden], whole on every rank.
  ParameterId add_positions(const std::string& tensor);
  // [tokens, hidden] of virtual tokens, whole on every rank; or what their encoder has, of which a rank has
  // the whole, too, but the part of a projection that gives its heads.
  PromptIds add_prompt();
  // [2 tokens, kv heads · head_dim] of a block: keys, and values below them, cut by heads, which ranks may
  // share. Nothing if an encoder gives them.
  PrefixIds add_prefix(int64_t block);
  NormIds add_norm(const std::string& name);
  // RMSNorm of heads: [head_dim], whole on every rank, each of which uses it on its heads.
  NormIds add_head_norm(const std::string& name);
  // [out, hidden], cut by what it gives: heads or width.
  MatrixIds add_column_parallel(const std::string& name, int64_t out, bool bias, Stored stored);
  // [kv heads · head_dim, hidden], cut by heads, which ranks may share.
  MatrixIds add_key_value(const std::string& name, bool bias, Stored stored);
  // Queries, keys and values in one tensor, one after another. Asserts that there are as many key/value heads
  // as query heads.
  MatrixIds add_packed_qkv(const std::string& name, bool bias, Stored stored);
  // The same, but head after head: the queries, keys and values of the first head, then of the second.
  MatrixIds add_interleaved_qkv(const std::string& name, bool bias, Stored stored);
  // [hidden, in], cut by what it reads; its bias is added once, to the sum of the ranks' products. It writes
  // into the residual stream.
  MatrixIds add_row_parallel(const std::string& name, int64_t in, bool bias, Stored stored);
  // Of model.bottleneck; `name` is that of its place in the block.
  BottleneckIds add_bottleneck(const std::string& name);

 private:
  // Appends the parameters of the adapters of a matrix [out, in]. cut(whole): this rank's part of a parameter
  // that has the matrix's rows or, if is_row_parallel, its columns.
  using Cut = std::function<Parameter(Parameter whole)>;
  void add_adapters(const std::string& name, int64_t out, int64_t in, bool is_row_parallel, const Cut& cut,
                    MatrixIds& ids);
  LowRankIds add_low_rank(const std::string& name, int64_t out, int64_t in, bool is_row_parallel,
                          const Cut& cut, const LowRankAdapter& adapter);
  static void begin_triplets(const LowRankAdapter& adapter, Parameter& a, Parameter& b);
  ParameterId add_values(const std::string& name, const LowRankAdapter& adapter);
  // What every rank of a tensor group has whole, and has a share of the gradient of.
  Parameter shared_by_ranks(Parameter parameter) const;
  // Rows [first, first + rows) of q, of k and of v are those that first_of(part, row) gives of the tensor.
  MatrixIds add_fused_qkv(const std::string& name, bool bias, Stored stored, int64_t run,
                          const std::function<int64_t(int64_t part, int64_t row)>& first_of);
  template <class CutInPlace>
  MatrixIds add_matrix(const std::string& name, int64_t out, int64_t in, bool bias, Stored stored,
                       double deviation, bool is_row_parallel, const CutInPlace& cut);
  ParameterId add_encoder_part(Parameter part);
  MatrixIds add_encoder_matrix(const std::string& name, int64_t out, int64_t in);
  LstmIds add_encoder_lstm(const std::string& ending, int64_t in, int64_t hidden);
  void add_projection(int64_t width, PromptIds& ids);
  ParameterId add(Parameter parameter);

  const ModelSpec& model_;
  const ModelConfig& config_;
  const ModelShard& shard_;
  int layer_;
  std::vector<Parameter>& list_;
};

}  // namespace collie
