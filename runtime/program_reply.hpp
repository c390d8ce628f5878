// What a program gave, for who asked for it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/double_bits.hpp"
#include "runtime/program.hpp"
#include "runtime/run_tag.hpp"

namespace collie {

// Values of programs, by name.
inline constexpr const char* loss_sum_name = "loss_sum";  // over all targets of the batch
inline constexpr const char* gradient_norm_name = "gradient_norm";
inline constexpr const char* first_not_finite_name = "first_not_finite";  // StepOutcome::first_not_finite
inline constexpr const char* group_norms_name = "group_norms";            // StepOutcome::group_norms
// Of a program with Program::per_document, in the order of the numbers: a document's number
// (MicroBatch::first_tokens), the sum of its losses, and how many targets it has. A document that is longer
// than a sequence counts as several.
inline constexpr const char* documents_name = "documents";
inline constexpr const char* document_loss_sums_name = "document_loss_sums";
inline constexpr const char* document_targets_name = "document_targets";
// Of a decoding program: the tokens that were drawn, in the order of the numbers of their sequences, and the
// numbers.
inline constexpr const char* tokens_name = "tokens";
inline constexpr const char* sequences_name = "sequences";

struct NamedValues {
  std::string name;
  std::vector<DoubleBits> values;
  bool operator==(const NamedValues&) const;
};

// From a rank: its part of the values. From the trainer: the whole values.
struct ProgramReply {
  RunTag tag;
  uint64_t program = 0;
  Request request;
  int64_t step = 0;  // Program::step
  int rank = 0;
  std::vector<NamedValues> values;
};

// Throws std::logic_error if the reply has no such values, or, for value_of(), not one alone.
const std::vector<DoubleBits>& values_of(const ProgramReply& reply, std::string_view name);
double value_of(const ProgramReply& reply, std::string_view name);

// How many ranks reply to a program of this kind.
int replying_ranks(const ProgramKind& kind, const Grid& grid);
// Merges their replies. Data and context ranks have parts of the losses, and of a document's losses, which
// are added in rank order. Each replica draws the tokens of its own sequences; the context ranks of one draw
// the same.
ProgramReply merge_replies(const ProgramKind& kind, const std::map<int, ProgramReply>& by_rank);

}  // namespace collie
