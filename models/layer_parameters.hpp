// Appends the parameters of one layer of one rank's stage to a list: what the rank's shard holds of each
// tensor. Names are Hugging Face's without ".weight" and ".bias".
#pragma once

#include <array>
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
  // [vocabulary], of the head, cut by vocabulary.
  ParameterId add_vocabulary_bias(const std::string& tensor);
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
  // Queries, keys and values in one tensor, one after another.
  MatrixIds add_packed_qkv(const std::string& name, bool bias, Stored stored);
  // The same, but key head after key head: the queries of all heads that read the first one, its keys, its
  // values, then those of the second.
  MatrixIds add_interleaved_qkv(const std::string& name, bool bias, Stored stored);
  // The same in `parts` equal parts, each of which has the queries, the values and the keys of its share of
  // the channels (CodeGen). Asserts that there are as many key/value heads as query heads. No bias; [out,
  // in].
  MatrixIds add_parted_qkv(const std::string& name, int64_t parts);
  // The gate and below it the up-projection of a gated MLP in one tensor [2 · width, hidden], each cut by
  // width.
  MatrixIds add_gate_up(const std::string& name, bool bias, Stored stored);
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
  // Rows of a tensor that follow each other in it.
  struct Rows {
    int64_t first = 0, count = 0;
  };
  // What this rank has of queries, of keys or of values (part 0, 1, 2): the rows of its heads, if `run` rows
  // of the part follow each other in the tensor and the part's row `row` is the tensor's first_of(row).
  std::vector<Rows> rows_of_heads(int part, int64_t run,
                                  const std::function<int64_t(int64_t row)>& first_of) const;
  // A matrix [out, hidden] of which the rank has `held`, one after another. The first own_rows of them are
  // the rank's alone; ranks may share the others as they do key/value heads.
  MatrixIds add_rows(const std::string& name, int64_t out, bool bias, Stored stored,
                     const std::vector<Rows>& held, int64_t own_rows);
  MatrixIds add_fused_qkv(const std::string& name, bool bias, Stored stored,
                          const std::array<std::vector<Rows>, 3>& parts);
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
