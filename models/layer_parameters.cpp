#include "models/layer_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/sharding.hpp"

namespace collie {
namespace {

// Rows [first, first + rows) of a matrix [out, in], whichever way the file stores it.
Parameter rows_of_matrix(const std::string& tensor, int64_t out, int64_t in, int64_t first, int64_t rows,
                         Stored stored) {
  const bool transposed = stored == Stored::in_out;
  return part_of_tensor(tensor, transposed ? Shape{in, out} : Shape{out, in}, first, rows, transposed);
}

}  // namespace

// What a matrix reads is the same on all ranks of a tensor group if they share its rows. Each then has the
// part of d(A x) that comes from its rows, so A's gradient is a sum over the ranks. If they share its
// columns, they share A's, and each has B whole and the gradient that comes from its part of A x. In both
// cases B (A x) is added to the rank's own partial product, and costs no communication in forward or
// backward.
void LayerParameters::add_adapters(const std::string& name, int64_t out, int64_t in, bool is_row_parallel,
                                   const Cut& cut, MatrixIds& ids) {
  if (const auto low_rank = model_.adapters.find(name); low_rank != model_.adapters.end())
    for (const LowRankAdapter& adapter : low_rank->second)
      if (adapter.rank > 0)
        ids.adapters.push_back(add_low_rank(name, out, in, is_row_parallel, cut, adapter));
  const auto vector = model_.vectors.find(name);
  if (vector == model_.vectors.end()) return;
  const bool of_input = vector->second.of_input;
  if (is_row_parallel && !of_input && ids.bias != no_parameter)
    throw UserError(
        "peft: {} has a bias that is added to the sum of tensor ranks, so a vector cannot multiply what it "
        "gives; name it in peft.feedforward_modules, for a vector of what it reads, or not at all",
        name);
  Parameter factors = whole_tensor(name_of_vector(name), of_input ? Shape{1, in} : Shape{out, 1});
  factors.is_adapter = true;
  factors.initialisation = Initialisation::ones;
  ids.vector.of_input = of_input;
  ids.vector.factors =
      add(of_input == is_row_parallel ? cut(std::move(factors)) : shared_by_ranks(std::move(factors)));
}

LowRankIds LayerParameters::add_low_rank(const std::string& name, int64_t out, int64_t in,
                                         bool is_row_parallel, const Cut& cut,
                                         const LowRankAdapter& adapter) {
  Parameter a = whole_tensor(name_of_a(name, adapter), {adapter.rank, in});
  Parameter b = whole_tensor(name_of_b(name, adapter), {out, adapter.rank});
  a.is_adapter = b.is_adapter = true;
  const bool normal = adapter.start == AdapterStart::gaussian;
  a.initialisation = normal ? Initialisation::normal : Initialisation::uniform;
  a.deviation = normal ? 1.0 / static_cast<double>(adapter.rank) : 1.0 / std::sqrt(static_cast<double>(in));
  b.initialisation = adapter.start == AdapterStart::random ? Initialisation::uniform : Initialisation::zeros;
  b.deviation = 1.0 / std::sqrt(static_cast<double>(adapter.rank));
  if (adapter.has_values) begin_triplets(adapter, a, b);
  LowRankIds ids{no_parameter, no_parameter, adapter.scale, adapter.dropout, name_of_a(name, adapter)};
  if (is_row_parallel) ids.first_column = shard_.tensor_rank * (in / shard_.tensor_size);
  ids.shares_rows = is_row_parallel;
  ids.a = add(is_row_parallel ? cut(std::move(a)) : shared_by_ranks(std::move(a)));
  ids.primary_rows_of_a = list_.back().primary_numel() / list_.back().shape[1];
  ids.b = add(is_row_parallel ? shared_by_ranks(std::move(b)) : cut(std::move(b)));
  ids.primary_rows_of_b = list_.back().primary_numel() / list_.back().shape[1];
  if (adapter.has_values) ids.values = add_values(name, adapter);
  ids.orthogonality = adapter.orthogonality;
  if (!adapter.has_magnitude) return ids;
  // Its values come from the matrix (plan/start_adapter.hpp).
  Parameter magnitude = whole_tensor(name_of_magnitude(name), {out});
  magnitude.is_adapter = true;
  magnitude.initialisation = Initialisation::ones;
  ids.magnitude = add(is_row_parallel ? shared_by_ranks(std::move(magnitude)) : cut(std::move(magnitude)));
  return ids;
}

// As peft begins them: the model begins as it was, because the values are zeros.
void LayerParameters::begin_triplets(const LowRankAdapter& adapter, Parameter& a, Parameter& b) {
  if (adapter.is_allocated) {
    a.triplet = TripletPart::a;
    b.triplet = TripletPart::b;
  }
  if (adapter.start == AdapterStart::random) return;
  a.initialisation = b.initialisation = Initialisation::normal;
  a.deviation = b.deviation = 0.02;
}

// Each rank has all values, and the gradient that comes from its part of B or of A x.
ParameterId LayerParameters::add_values(const std::string& name, const LowRankAdapter& adapter) {
  Parameter values = whole_tensor(name_of_values(name), {adapter.rank, 1});
  values.is_adapter = true;
  if (adapter.is_allocated) values.triplet = TripletPart::e;
  const bool random = adapter.start == AdapterStart::random;
  values.initialisation = random ? Initialisation::uniform : Initialisation::zeros;
  values.deviation = 1;
  return add(shared_by_ranks(std::move(values)));
}

Parameter LayerParameters::shared_by_ranks(Parameter parameter) const {
  parameter.is_primary = shard_.tensor_rank == 0;
  if (shard_.tensor_size > 1) parameter.gradient_shares = GradientShares::tensor;
  return parameter;
}

template <class CutInPlace>
MatrixIds LayerParameters::add_matrix(const std::string& name, int64_t out, int64_t in, bool bias,
                                      Stored stored, double deviation, bool is_row_parallel,
                                      const CutInPlace& cut) {
  MatrixIds ids;
  Parameter weight = rows_of_matrix(name + ".weight", out, in, 0, out, stored);
  weight.deviation = deviation;
  weight.quantisation = model_.quantisation_of(name);
  ids.is_quantised = weight.quantisation.is_there();
  cut(weight);
  ids.weight = add(std::move(weight));
  if (bias) {
    Parameter shift = whole_tensor(name + ".bias", {out});
    shift.initialisation = Initialisation::zeros;
    cut(shift);
    ids.bias = add(std::move(shift));
  }
  add_adapters(
      name, out, in, is_row_parallel,
      [&](Parameter whole) {
        cut(whole);
        return whole;
      },
      ids);
  return ids;
}

ParameterId LayerParameters::add_vocabulary(const std::string& tensor, bool tied_copy) {
  Parameter matrix = whole_tensor(tensor, {config_.vocab_size, config_.hidden_size});
  matrix.deviation = config_.initializer_range;
  matrix.is_table = true;
  matrix.stored_rows = config_.stored_vocab_size;
  matrix.tied_copy = tied_copy;
  cut_axis(matrix, 0, shard_);
  return add(std::move(matrix));
}

ParameterId LayerParameters::add_vocabulary_bias(const std::string& tensor) {
  Parameter shift = whole_tensor(tensor, {config_.vocab_size});
  shift.initialisation = Initialisation::zeros;
  shift.stored_rows = config_.stored_vocab_size;
  cut_axis(shift, 0, shard_);
  return add(std::move(shift));
}

ParameterId LayerParameters::add_positions(const std::string& tensor) {
  Parameter matrix = whole_tensor(tensor, {config_.max_position_embeddings, config_.hidden_size});
  matrix.deviation = config_.initializer_range;
  matrix.is_table = true;
  replicate(matrix, shard_);
  return add(std::move(matrix));
}

NormIds LayerParameters::add_norm(const std::string& name) {
  NormIds ids;
  Parameter weight = whole_tensor(name + ".weight", {config_.hidden_size});
  weight.initialisation = config_.norm.weight_offset == 0 ? Initialisation::ones : Initialisation::zeros;
  replicate(weight, shard_);
  ids.weight = add(std::move(weight));
  ids.trained = list_.back().trainable;
  if (!config_.norm.bias) return ids;
  Parameter shift = whole_tensor(name + ".bias", {config_.hidden_size});
  shift.initialisation = Initialisation::zeros;
  replicate(shift, shard_);
  ids.bias = add(std::move(shift));
  ids.trained = ids.trained || list_.back().trainable;
  return ids;
}

NormIds LayerParameters::add_head_norm(const std::string& name) {
  Parameter weight = whole_tensor(name + ".weight", {config_.head_dim});
  weight.initialisation = config_.norm.weight_offset == 0 ? Initialisation::ones : Initialisation::zeros;
  replicate(weight, shard_);
  if (shard_.tensor_size > 1) weight.gradient_shares = GradientShares::tensor;
  NormIds ids;
  ids.weight = add(std::move(weight));
  ids.trained = list_.back().trainable;
  return ids;
}

MatrixIds LayerParameters::add_column_parallel(const std::string& name, int64_t out, bool bias,
                                               Stored stored) {
  return add_matrix(name, out, config_.hidden_size, bias, stored, config_.initializer_range, false,
                    [this](Parameter& parameter) { cut_axis(parameter, 0, shard_); });
}

MatrixIds LayerParameters::add_key_value(const std::string& name, bool bias, Stored stored) {
  return add_matrix(name, config_.num_key_value_heads * config_.head_dim, config_.hidden_size, bias, stored,
                    config_.initializer_range, false,
                    [this](Parameter& parameter) { cut_key_value_heads(parameter, config_, shard_); });
}

std::vector<LayerParameters::Rows> LayerParameters::rows_of_heads(
    int part, int64_t run, const std::function<int64_t(int64_t row)>& first_of) const {
  const ModelConfig share = share_of(config_, shard_);
  const int64_t heads = part == 0 ? share.num_attention_heads : share.num_key_value_heads;
  const int64_t holder =
      part == 0 ? shard_.tensor_rank : shard_.tensor_rank / key_value_sharers(config_, shard_.tensor_size);
  std::vector<Rows> held;
  const int64_t begin = holder * heads * config_.head_dim, end = begin + heads * config_.head_dim;
  for (int64_t row = begin; row < end; row += held.back().count)
    held.push_back({first_of(row), std::min(run - row % run, end - row)});
  return held;
}

MatrixIds LayerParameters::add_rows(const std::string& name, int64_t out, bool bias, Stored stored,
                                    const std::vector<Rows>& held, int64_t own_rows) {
  const auto in_rank = [&](const std::function<Parameter(const Rows&)>& part_of) {
    std::vector<Parameter> parts;
    for (const Rows& rows : held) parts.push_back(part_of(rows));
    Parameter all = stacked(parts.front().pieces.front().tensor, parts);
    if (own_rows == all.shape[0]) return all;
    all.own_rows = own_rows;
    all.gradient_shares = GradientShares::key_value;
    all.is_primary = shard_.tensor_rank % key_value_sharers(config_, shard_.tensor_size) == 0;
    return all;
  };
  MatrixIds ids;
  Parameter weight = in_rank([&](const Rows& rows) {
    return rows_of_matrix(name + ".weight", out, config_.hidden_size, rows.first, rows.count, stored);
  });
  weight.deviation = config_.initializer_range;
  weight.quantisation = model_.quantisation_of(name);
  ids.is_quantised = weight.quantisation.is_there();
  ids.weight = add(std::move(weight));
  const auto rows_of = [&](const Parameter& whole) {
    Parameter part = in_rank([&](const Rows& rows) {
      return part_of_tensor(whole.name, whole.shape, rows.first, rows.count, false);
    });
    part.is_adapter = whole.is_adapter;
    part.initialisation = whole.initialisation;
    part.deviation = whole.deviation;
    part.triplet = whole.triplet;
    return part;
  };
  if (bias) {
    Parameter shift = whole_tensor(name + ".bias", {out});
    shift.initialisation = Initialisation::zeros;
    ids.bias = add(rows_of(shift));
  }
  add_adapters(name, out, config_.hidden_size, false, rows_of, ids);
  return ids;
}

MatrixIds LayerParameters::add_fused_qkv(const std::string& name, bool bias, Stored stored,
                                         const std::array<std::vector<Rows>, 3>& parts) {
  std::vector<Rows> held;
  int64_t own_rows = 0;
  const bool shares = key_value_sharers(config_, shard_.tensor_size) > 1;
  for (size_t part = 0; part < 3; ++part)
    for (const Rows& rows : parts[part]) {
      held.push_back(rows);
      if (part == 0 || !shares) own_rows += rows.count;
    }
  const int64_t heads = config_.num_attention_heads + 2 * config_.num_key_value_heads;
  return add_rows(name, heads * config_.head_dim, bias, stored, held, own_rows);
}

MatrixIds LayerParameters::add_packed_qkv(const std::string& name, bool bias, Stored stored) {
  const int64_t q_width = config_.num_attention_heads * config_.head_dim,
                kv_width = config_.num_key_value_heads * config_.head_dim;
  const auto from = [](int64_t first) { return [first](int64_t row) { return first + row; }; };
  return add_fused_qkv(name, bias, stored,
                       {rows_of_heads(0, q_width, from(0)), rows_of_heads(1, kv_width, from(q_width)),
                        rows_of_heads(2, kv_width, from(q_width + kv_width))});
}

MatrixIds LayerParameters::add_interleaved_qkv(const std::string& name, bool bias, Stored stored) {
  const int64_t head = config_.head_dim,
                queries = config_.num_attention_heads / config_.num_key_value_heads * head;
  const int64_t group = queries + 2 * head;  // the rows of a key head and of all that read it
  const auto of_group = [group](int64_t run, int64_t first) {
    return [=](int64_t row) { return row / run * group + first + row % run; };
  };
  return add_fused_qkv(
      name, bias, stored,
      {rows_of_heads(0, queries, of_group(queries, 0)), rows_of_heads(1, head, of_group(head, queries)),
       rows_of_heads(2, head, of_group(head, queries + head))});
}

MatrixIds LayerParameters::add_parted_qkv(const std::string& name, int64_t parts) {
  COLLIE_ASSERT(config_.num_key_value_heads == config_.num_attention_heads,
                "{}: {} key/value heads for {} query heads in {} parts", name, config_.num_key_value_heads,
                config_.num_attention_heads, parts);
  const int64_t run = config_.num_attention_heads * config_.head_dim / parts;
  const auto from = [run](int64_t place) {
    return [=](int64_t row) { return (3 * (row / run) + place) * run + row % run; };
  };
  return add_fused_qkv(
      name, false, Stored::out_in,
      {rows_of_heads(0, run, from(0)), rows_of_heads(1, run, from(2)), rows_of_heads(2, run, from(1))});
}

MatrixIds LayerParameters::add_gate_up(const std::string& name, bool bias, Stored stored) {
  const int64_t width = config_.intermediate_size, held = width / shard_.tensor_size,
                first = shard_.tensor_rank * held;
  return add_rows(name, 2 * width, bias, stored, {{first, held}, {width + first, held}}, 2 * held);
}

MatrixIds LayerParameters::add_row_parallel(const std::string& name, int64_t in, bool bias, Stored stored) {
  return add_matrix(
      name, config_.hidden_size, in, bias, stored,
      config_.initializer_range * config_.residual_initializer_factor, true, [this](Parameter& parameter) {
        parameter.shape.rank() == 2 ? cut_axis(parameter, 1, shard_) : replicate(parameter, shard_);
      });
}

// It is used on the tokens that the rank holds outside the matrices, as norms are.
BottleneckIds LayerParameters::add_bottleneck(const std::string& name) {
  const BottleneckAdapter& adapter = *model_.bottleneck;
  const auto add_linear = [&](const std::string& linear, int64_t out, int64_t in, bool is_up) {
    Parameter weight = whole_tensor(linear + ".weight", {out, in}),
              bias = whole_tensor(linear + ".bias", {out});
    weight.is_adapter = bias.is_adapter = true;
    weight.deviation = 0.02;
    bias.initialisation = Initialisation::zeros;
    if (adapter.starts_as_nothing) {
      weight.initialisation = is_up ? Initialisation::zeros : Initialisation::uniform;
      weight.deviation = 1 / std::sqrt(static_cast<double>(in));
    }
    replicate(weight, shard_);
    replicate(bias, shard_);
    MatrixIds ids;
    ids.weight = add(std::move(weight));
    ids.bias = add(std::move(bias));
    return ids;
  };
  BottleneckIds ids;
  ids.down = add_linear(name + ".adapter_down", adapter.size, config_.hidden_size, false);
  ids.up = add_linear(name + ".adapter_up", config_.hidden_size, adapter.size, true);
  return ids;
}

ParameterId LayerParameters::add(Parameter parameter) {
  parameter.layer = layer_;
  parameter.trainable = model_.trains(parameter.name);
  const bool is_whole = !model_.has_adapters() && !parameter.quantisation.is_there();
  parameter.is_saved = is_whole || parameter.is_adapter || parameter.trainable;
  list_.push_back(std::move(parameter));
  return static_cast<ParameterId>(list_.size()) - 1;
}

}  // namespace collie
