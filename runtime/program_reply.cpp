#include "runtime/program_reply.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie {

bool NamedValues::operator==(const NamedValues& other) const {
  return name == other.name &&
         std::equal(values.begin(), values.end(), other.values.begin(), other.values.end(),
                    [](const DoubleBits& a, const DoubleBits& b) { return a.bits == b.bits; });
}

const std::vector<DoubleBits>& values_of(const ProgramReply& reply, std::string_view name) {
  const auto found = std::find_if(reply.values.begin(), reply.values.end(),
                                  [&](const NamedValues& named) { return named.name == name; });
  COLLIE_ASSERT(found != reply.values.end(), "the reply to program {} has no {}", reply.program, name);
  return found->values;
}

double value_of(const ProgramReply& reply, std::string_view name) {
  const std::vector<DoubleBits>& values = values_of(reply, name);
  COLLIE_ASSERT(values.size() == 1, "the reply to program {} has {} values of {}", reply.program,
                values.size(), name);
  return values.front();
}

// A norm is one that all ranks have agreed on, and the first of them says it.
int replying_ranks(const ProgramKind& kind, const Grid& grid) {
  return kind.gradients == GradientUse::none ? grid.data_ranks() : 1;
}

namespace {

bool has_documents(const ProgramReply& reply) {
  return std::any_of(reply.values.begin(), reply.values.end(),
                     [](const NamedValues& named) { return named.name == documents_name; });
}

void merge_documents(const std::map<int, ProgramReply>& by_rank, std::vector<NamedValues>& values) {
  struct Document {
    double loss_sum = 0, targets = 0;
  };
  std::map<double, Document> documents;  // by number
  for (const auto& [rank, reply] : by_rank) {
    const auto &numbers = values_of(reply, documents_name), &sums = values_of(reply, document_loss_sums_name),
               &targets = values_of(reply, document_targets_name);
    COLLIE_ASSERT(sums.size() == numbers.size() && targets.size() == numbers.size(),
                  "rank {} reports {} documents, {} losses and {} targets", rank, numbers.size(), sums.size(),
                  targets.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      Document& document = documents[numbers[i]];
      document.loss_sum += sums[i];
      document.targets += targets[i];
    }
  }
  NamedValues numbers{documents_name, {}}, sums{document_loss_sums_name, {}},
      targets{document_targets_name, {}};
  for (const auto& [number, document] : documents) {
    numbers.values.emplace_back(number);
    sums.values.emplace_back(document.loss_sum);
    targets.values.emplace_back(document.targets);
  }
  for (NamedValues* named : {&numbers, &sums, &targets}) values.push_back(std::move(*named));
}

void merge_tokens(const std::map<int, ProgramReply>& by_rank, std::vector<NamedValues>& values) {
  std::map<double, double> tokens;  // by the number of the sequence
  for (const auto& [rank, reply] : by_rank) {
    const auto &numbers = values_of(reply, sequences_name), &drawn = values_of(reply, tokens_name);
    COLLIE_ASSERT(numbers.size() == drawn.size(), "rank {} reports {} tokens of {} sequences", rank,
                  drawn.size(), numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      const auto [token, is_new] = tokens.emplace(numbers[i], drawn[i]);
      COLLIE_ASSERT(is_new || token->second == drawn[i],
                    "rank {} does not agree with another on the token of sequence {} in program {}", rank,
                    static_cast<double>(numbers[i]), reply.program);
    }
  }
  NamedValues drawn{tokens_name, {}}, numbers{sequences_name, {}};
  for (const auto& [number, token] : tokens) {
    numbers.values.emplace_back(number);
    drawn.values.emplace_back(token);
  }
  values = {std::move(drawn), std::move(numbers)};
}

}  // namespace

ProgramReply merge_replies(const ProgramKind& kind, const std::map<int, ProgramReply>& by_rank) {
  ProgramReply whole = by_rank.begin()->second;
  if (kind.pass == Pass::loss) {
    double sum = 0;
    for (const auto& [rank, reply] : by_rank) sum += value_of(reply, loss_sum_name);
    whole.values = {{loss_sum_name, {sum}}};
    if (has_documents(by_rank.begin()->second)) merge_documents(by_rank, whole.values);
  } else if (kind.pass == Pass::decode && by_rank.size() > 1) {
    merge_tokens(by_rank, whole.values);
  } else {
    for (const auto& [rank, reply] : by_rank)
      COLLIE_ASSERT(reply.values == whole.values, "ranks {} and {} do not agree on program {}", whole.rank,
                    rank, reply.program);
  }
  return whole;
}

}  // namespace collie
