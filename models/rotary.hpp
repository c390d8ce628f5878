// The rotation angles of every position, as cosines and sines.
#pragma once

#include <map>

#include "kernels/operations.hpp"
#include "models/model_config.hpp"

namespace collie {

struct RotaryTables {
  Tensor cosines, sines;  // [max_position_embeddings, rotary_dim / 2]
};

// Angle of position p, channel i: p · theta^(-2i / rotary_dim) (Su et al., arXiv 2104.09864). Frequency and
// angle are rounded to fp32 as transformers does: at far positions the rounding is part of what a checkpoint
// was trained with.
RotaryTables make_rotary_tables(const ModelConfig& config, Operations& operations);

// What block `block` rotates by, as the settings of a model.
ModelConfig with_rotation_of(ModelConfig config, int64_t block);

// The tables of the blocks of a stage; blocks that rotate alike share theirs.
class BlockRotations {
 public:
  // Undefined tables where the model rotates nothing.
  const RotaryTables& of(const ModelConfig& config, int64_t block, Operations& operations);

 private:
  std::map<double, RotaryTables> tables_;  // by the base
};

}  // namespace collie
