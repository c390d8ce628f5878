// The rotation angles of every position, as cosines and sines.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "io/batch.hpp"
#include "kernels/operations.hpp"
#include "models/model_config.hpp"

namespace collie {

struct RotaryTables {
  // [positions, rotary_dim / 2]; with longrope, those of short documents (original_max_position_embeddings at
  // most) and below them those of long ones.
  Tensor cosines, sines;
};

// Angle of position p, channel i: p · theta^(-2i / rotary_dim) (Su et al., arXiv 2104.09864), scaled as the
// model says (rope_scaling.hpp). Frequency and angle are rounded to fp32 as transformers does: at far
// positions the rounding is part of what a checkpoint was trained with. With half_frequencies a frequency is
// rounded to float16 as well: ChatGLM-6B's code does that, also where the rest is computed in float32.
RotaryTables make_rotary_tables(const ModelConfig& config, Operations& operations);

// Whether the angles of a position depend on how long its document is: with longrope they do.
bool angles_depend_on_length(const ModelConfig& config);
// The row of the tables for a position of a document of `length` tokens, virtual ones included, where
// angles_depend_on_length(); elsewhere it is the position.
int32_t rotary_row(const ModelConfig& config, int32_t position, int64_t length);
// The same of all tokens of a micro-batch, whose documents are whole: [tokens]. What a document is beside in
// its micro-batch, and which rank has a token, changes nothing.
std::vector<int32_t> rotary_rows(const ModelConfig& config, const MicroBatch& batch);

// What block `block` rotates by, as the settings of a model.
ModelConfig with_rotation_of(ModelConfig config, int64_t block);

// The tables of the blocks of a stage; blocks that rotate alike share theirs.
class BlockRotations {
 public:
  // Undefined tables where the model rotates nothing.
  const RotaryTables& of(const ModelConfig& config, int64_t block, Operations& operations);

 private:
  std::map<std::pair<double, bool>, RotaryTables> tables_;  // by the base, and whether it is scaled
};

}  // namespace collie
