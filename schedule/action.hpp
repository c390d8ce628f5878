// A pipeline schedule: one ordered list of actions a rank, fixed before the run. Pure data, no tensors or threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace collie::schedule {

// The names of torch.distributed.pipelining's CSV: "<stage><F|B|I|W><micro-batch>", e.g. "0F3"; here B is a whole backward
// (input and weight), I the input half, W the weight half.
enum class ActionKind : uint8_t {
  forward,          // F
  backward,         // B
  backward_input,   // I
  backward_weight,  // W
  send_forward,     // SEND_F: the stage's output to stage + 1
  receive_forward,  // RECV_F: the stage's input from stage - 1
  send_backward,    // SEND_B: d(input) to stage - 1
  receive_backward, // RECV_B: d(output) from stage + 1
};

struct Action {
  ActionKind kind = ActionKind::forward;
  int stage = 0;        // virtual stage, 0 .. stages - 1, in model order
  int micro_batch = 0;
  bool operator==(const Action&) const = default;
};

std::string to_string(const Action& action);        // "2F5", "0SEND_F3"
// Throws UserError on anything else; `where` names the place in messages.
Action parse_action(const std::string& text, const std::string& where);

using ActionList = std::vector<Action>;

struct Schedule {
  std::string name;
  int ranks = 1, stages = 1, micro_batches = 1;
  std::vector<int> rank_of_stage;   // [stages]
  std::vector<ActionList> lists;    // [ranks]
};

}  // namespace collie::schedule
