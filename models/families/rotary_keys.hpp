// The keys with which families of rotary positions say what they rotate by.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config_reader.hpp"

namespace collie {

// The base of the rotation's wavelengths: transformers 5 writes rope_parameters {"rope_theta", "rope_type"},
// older versions rope_theta beside rope_scaling. Throws UserError for scaled and partial rotations, which the
// engine does not have yet.
double read_rope_theta(ConfigReader& reader);
void write_rope_theta(double theta, nlohmann::json& json);

}  // namespace collie
