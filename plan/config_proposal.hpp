// A first configuration for a model folder and data, for people to go on with (collie-engine init).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/config.hpp"

namespace collie {

struct ProposalWishes {
  std::string model;  // a folder in the format of Hugging Face
  DataSource train;   // data_guess.hpp makes one
  std::optional<DataSource> eval = {};
  std::string adapter = "none";       // or lora
  std::string name = "";              // empty: the model folder's
  std::optional<int64_t> steps = {};  // none: `epochs`
  int64_t epochs = 1;
  std::optional<int64_t> sequence_length = {};  // none: the model's longest, at most 1024
};

// Every member is valid. Throws UserError if there is no model that the engine reads in the folder, or what
// was wished for is not valid.
Config proposed_config(const ProposalWishes& wishes);

// The configuration's most used keys, with comments by the schema, as a file that load_config() reads as
// `config`, which proposed_config() has made.
std::string proposal_text(const Config& config);

}  // namespace collie
