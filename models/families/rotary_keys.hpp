// The keys with which families of rotary positions say what they rotate by.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config_reader.hpp"
#include "models/model_config.hpp"

namespace collie {

// What a family calls the base of the wavelengths, and the part of a head that is rotated.
struct RotaryKeys {
  const char* theta = "rope_theta";
  const char* part = "partial_rotary_factor";
  double part_otherwise = 1;
  double theta_otherwise = 10000;
  // Where no original_max_position_embeddings is given; 0: max_position_embeddings.
  int64_t original_otherwise = 0;
  // Phi-3's: longrope is the only scaling, and older files call it "su" or "yarn".
  bool longrope_alone = false;
  // The family's code rotates all channels of a head, whatever a file says; another part is refused.
  bool whole_heads = false;
};

inline constexpr RotaryKeys rotary_of_whole_heads = {.whole_heads = true};

// Reads rope_theta, rotary_dim and rope_scaling: transformers 5 writes rope_parameters {"rope_theta",
// "rope_type", "partial_rotary_factor", and what the type needs}, older versions rope_theta and the part
// beside rope_scaling {"rope_type" or "type", and the rest}. Where there are both, they must agree. config
// has head_dim and max_position_embeddings. Throws UserError (read_rope_scaling()).
void read_rotary_keys(ConfigReader& reader, const RotaryKeys& keys, ModelConfig& config);
// Of an object like rope_scaling: refuses what is neither read nor off.
void refuse_unknown_rotary_keys(const ConfigReader& inner);
// Writes both: what either version of transformers reads.
void write_rotary_keys(const RotaryKeys& keys, const ModelConfig& config, nlohmann::json& object);

}  // namespace collie
