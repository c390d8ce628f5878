// A pipeline schedule is one ordered list of actions per rank, fixed before the run. It is pure data, without
// tensors or threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace collie::schedule {

// The names are those of torch.distributed.pipelining's CSV: "<stage><F|B|I|W><micro-batch>", e.g. "0F3".
// Here B is a whole backward (input and weight), I the input half, W the weight half.
enum class ActionKind : uint8_t {
  forward,           // F
  backward,          // B
  backward_input,    // I
  backward_weight,   // W
  send_forward,      // SEND_F: the stage's output to stage + 1
  receive_forward,   // RECV_F: the stage's input from stage - 1
  send_backward,     // SEND_B: d(input) to stage - 1
  receive_backward,  // RECV_B: d(output) from stage + 1
};
inline constexpr size_t action_kind_count = 8;

bool is_compute(ActionKind kind);  // F, B, I, W
bool is_send(ActionKind kind);
bool is_receive(ActionKind kind);

struct Action {
  ActionKind kind = ActionKind::forward;
  int stage = 0;  // virtual stage, 0 .. stages - 1, in model order
  int micro_batch = 0;
  bool operator==(const Action&) const = default;
};

std::string to_string(const Action& action);  // "2F5", "0SEND_F3"
// Throws UserError for any other text; `where` names the place in messages.
Action parse_action(const std::string& text, const std::string& where);

// A channel for messages: activations go to the next stage, gradients to the one before. Each channel has its
// own credits.
struct Edge {
  int from_stage = 0;
  int to_stage = 1;  // from_stage + 1: forward, from_stage - 1: backward
  bool operator==(const Edge&) const = default;
};

// The channel of a send or receive.
Edge edge_of(const Action& communication);
// The receive that takes what this send sends, or the send that this receive waits for.
Action counterpart(const Action& communication);

using ActionList = std::vector<Action>;

struct Schedule {
  std::string name;
  int ranks = 1, stages = 1, micro_batches = 1;
  std::vector<int> rank_of_stage;  // [stages]
  std::vector<ActionList> lists;   // [ranks]
  bool forward_only = false;       // evaluation and generation: F alone, no backward
  // [ranks][actions], for messages. If the lists were read from a CSV file, it has each action's column, from
  // 0 (its row is its rank). A communication action that was added has the column of the action it serves.
  // Otherwise it is empty.
  std::vector<std::vector<int>> columns;
};

bool has_communication(const Schedule& schedule);

// The place of an action, for messages: "rank 1, index 4" or "row 2 (rank 1), column 5".
std::string place(const Schedule& schedule, int rank, size_t index);

}  // namespace collie::schedule
