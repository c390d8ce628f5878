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
};

// Reads rope_theta and rotary_dim: transformers 5 writes rope_parameters {"rope_theta", "rope_type",
// "partial_rotary_factor"}, older versions these keys beside rope_scaling. config has head_dim. Throws
// UserError for scaled rotations, which the engine does not have yet.
void read_rotary_keys(ConfigReader& reader, const RotaryKeys& keys, ModelConfig& config);
void write_rotary_keys(const RotaryKeys& keys, const ModelConfig& config, nlohmann::json& object);

}  // namespace collie
