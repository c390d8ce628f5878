// Which of a run's checkpoints a command means: --checkpoint STEP|best|last|base, --resume=STEP|best|last.
#pragma once

#include <cstdint>
#include <string>

#include "io/checkpoint.hpp"

namespace collie {

struct CheckpointChoice {
  enum class Kind : uint8_t {
    automatic,  // the newest, and the base model if the run has no checkpoint
    base,       // no checkpoint: the model that a run starts from
    last,
    best,  // that with the lowest eval_loss
    step,
  };
  Kind kind = Kind::automatic;
  int64_t step = 0;  // for Kind::step

  static CheckpointChoice base() { return {Kind::base}; }
  static CheckpointChoice last() { return {Kind::last}; }
};

// Reads "last", "best", a step or, if `may_be_base`, "base". Throws UserError naming `option` ("--resume").
CheckpointChoice parse_checkpoint_choice(const std::string& text, const std::string& option,
                                         bool may_be_base);

// "last", "best", "base", "20"; "" for automatic.
std::string to_string(const CheckpointChoice& choice);

// Opens the checkpoint that is meant, of those in `folder`. For "last" and "best" a defective one is skipped
// with a warning. Returns nullopt for the base model, and if there is no checkpoint and `choice` is last or
// automatic. Throws UserError that says which there are if the step is not there, if none was evaluated, or
// if none verifies.
std::optional<Checkpoint> open_checkpoint(const std::string& folder, const CheckpointChoice& choice);

}  // namespace collie
