// The keys with which a config.json says how rotary positions are scaled (models/rope_scaling.hpp).
#pragma once

#include <nlohmann/json.hpp>

#include "models/config_reader.hpp"
#include "models/families/rotary_keys.hpp"
#include "models/model_config.hpp"

namespace collie {

// What `inner` says, which reads rope_scaling or rope_parameters: their rope_type, or "type" as older files
// have it. `reader` reads the whole file, where original_max_position_embeddings may stand, too. config has
// max_position_embeddings, rope_theta and rotary_dim. Throws UserError for a type that the engine does not
// know, and for what a type cannot do without. Keys that no type has are left to the caller.
RopeScaling read_rope_scaling(ConfigReader& inner, ConfigReader& reader, const RotaryKeys& keys,
                              const ModelConfig& config);

// Adds rope_type and the keys that transformers reads of it. The attention factor is written as a number,
// whatever it was computed from.
void write_rope_scaling(const RopeScaling& scaling, nlohmann::json& object);

}  // namespace collie
