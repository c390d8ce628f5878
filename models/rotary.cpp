#include "models/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/half.hpp"

namespace collie {
namespace {

// Appends the angles of positions [0, positions).
class AngleRows {
 public:
  explicit AngleRows(const ModelConfig& config)
      : attention_factor_(config.rope_scaling.attention_factor), in_half_(config.half_frequencies) {}

  void append(const std::vector<double>& frequencies, int64_t positions) {
    for (int64_t p = 0; p < positions; ++p)
      for (const double frequency : frequencies) {
        // A float product on purpose.
        const double angle = static_cast<float>(p) * rounded(frequency);
        cosines.push_back(static_cast<float>(attention_factor_ * std::cos(angle)));
        sines.push_back(static_cast<float>(attention_factor_ * std::sin(angle)));
      }
  }

  std::vector<float> cosines, sines;

 private:
  float rounded(double frequency) const {
    const auto single = static_cast<float>(frequency);
    return in_half_ ? float_from_half(half_from_float(single)) : single;
  }

  double attention_factor_;
  bool in_half_;
};

// The positions of documents that are not long.
int64_t short_positions(const ModelConfig& config) {
  return angles_depend_on_length(config)
             ? std::min(config.max_position_embeddings, config.rope_scaling.original_positions)
             : config.max_position_embeddings;
}

}  // namespace

RotaryTables make_rotary_tables(const ModelConfig& config, Operations& operations) {
  const int64_t rotated = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  const int64_t of_short = short_positions(config), positions = config.max_position_embeddings;
  const int64_t of_long = of_short < positions ? positions : 0;
  const Shape shape{of_short + of_long, rotated / 2};
  RotaryTables tables{operations.empty(shape, operations.accumulation_dtype(), Category::workspace),
                      operations.empty(shape, operations.accumulation_dtype(), Category::workspace)};
  if (!operations.has_values()) return tables;
  AngleRows rows(config);
  rows.append(rotary_frequencies(config.rope_theta, rotated, config.rope_scaling, false), of_short);
  if (of_long > 0)
    rows.append(rotary_frequencies(config.rope_theta, rotated, config.rope_scaling, true), of_long);
  operations.upload(rows.cosines, tables.cosines);
  operations.upload(rows.sines, tables.sines);
  return tables;
}

bool angles_depend_on_length(const ModelConfig& config) {
  return config.positions == Positions::rotary && config.rope_scaling.kind == RopeScalingKind::longrope;
}

int32_t rotary_row(const ModelConfig& config, int32_t position, int64_t length) {
  if (!angles_depend_on_length(config) || length <= config.rope_scaling.original_positions) return position;
  return static_cast<int32_t>(short_positions(config)) + position;
}

std::vector<int32_t> rotary_rows(const ModelConfig& config, const MicroBatch& batch) {
  std::vector<int32_t> rows;
  for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i) {
    const auto begin = static_cast<size_t>(batch.document_starts[i]),
               end = static_cast<size_t>(batch.document_starts[i + 1]);
    for (size_t token = begin; token < end; ++token)
      rows.push_back(rotary_row(config, batch.positions[token], batch.positions[end - 1] + 1));
  }
  return rows;
}

ModelConfig with_rotation_of(ModelConfig config, int64_t block) {
  if (const double theta = config.block(block).rope_theta; theta != 0) {
    config.rope_theta = theta;
    config.rope_scaling = {};  // is of the model's base
  }
  return config;
}

const RotaryTables& BlockRotations::of(const ModelConfig& config, int64_t block, Operations& operations) {
  const ModelConfig own = with_rotation_of(config, block);
  const bool is_scaled = own.rope_scaling.kind != RopeScalingKind::none;
  const auto [at, added] = tables_.try_emplace({own.rope_theta, is_scaled});
  if (added && config.positions == Positions::rotary) at->second = make_rotary_tables(own, operations);
  return at->second;
}

}  // namespace collie
