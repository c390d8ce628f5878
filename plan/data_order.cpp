#include "plan/data_order.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.hpp"
#include "base/log.hpp"

namespace collie {

Packing packing_of(const DataSection& data, const std::vector<DataSource>& sources) {
  if (data.packing == "true") return Packing::stream;
  if (data.packing == "false") return Packing::none;
  if (data.packing == "samples") return Packing::samples;
  const bool samples = std::any_of(sources.begin(), sources.end(), [](const DataSource& source) {
    return !source.prompt.empty() || source.format == "chat";
  });
  return samples ? Packing::samples : Packing::stream;
}

const char* name_of(Packing packing) {
  return packing == Packing::stream ? "true" : packing == Packing::samples ? "samples" : "false";
}

namespace {

TooLong too_long_of(const std::string& name) {
  return name == "drop" ? TooLong::drop : name == "refuse" ? TooLong::refuse : TooLong::cut;
}

void warn_of_nothing_to_learn(const SequenceOrder& order) {
  const int64_t without = order.sequences_without_targets(order.first_epoch());
  if (without == 0) return;
  log::warn(
      "{}: {} of the {} sequences of the first epoch have no target token, and teach nothing: prompts fill "
      "them. A "
      "larger data.sequence_length, or shorter prompts, would help",
      order.dataset().name(), without, order.sequences_per_epoch());
}

}  // namespace

std::shared_ptr<const SequenceOrder> training_order(const Config& config,
                                                    std::shared_ptr<const Dataset> data) {
  const SequenceSettings settings{config.data.sequence_length, packing_of(config.data, config.data.train),
                                  config.data.shuffle, config.run.seed, too_long_of(config.data.too_long)};
  auto order = std::make_shared<const SequenceOrder>(std::move(data), settings,
                                                     std::vector{first_phase(weights_of(config.data.train))});
  warn_of_nothing_to_learn(*order);
  return order;
}

std::vector<int64_t> weights_of(const std::vector<DataSource>& sources) {
  std::vector<int64_t> weights;
  for (const DataSource& source : sources)
    weights.push_back(std::llround(source.weight * static_cast<double>(whole_weight)));
  return weights;
}

std::string words_of_mixture(const SequenceOrder& order) {
  const std::vector<int64_t>& weights = order.mixture().phases().back().weights;
  if (std::all_of(weights.begin(), weights.end(), [](int64_t weight) { return weight == whole_weight; }))
    return "";
  const std::vector<DatasetSource>& sources = order.dataset().sources();
  double all = 0;
  const auto part = [&](size_t i) {
    return static_cast<double>(weights[i]) / static_cast<double>(whole_weight) *
           static_cast<double>(sources[i].targets);
  };
  for (size_t i = 0; i < sources.size(); ++i) all += part(i);
  std::string words = "an epoch has of its targets";
  for (size_t i = 0; i < sources.size(); ++i)
    words += fmt::format("{} {:.1f} % of '{}' (weight {}, {} documents)", i == 0 ? "" : ",",
                         100 * part(i) / std::max(all, 1.0), sources[i].path,
                         static_cast<double>(weights[i]) / static_cast<double>(whole_weight),
                         sources[i].documents);
  return words;
}

std::string words_of_data(const SequenceOrder& order) {
  const Dataset& data = order.dataset();
  const SequenceSettings& settings = order.settings();
  std::string words =
      fmt::format("{} documents, {} tokens, {} targets, in {} sequences an epoch", data.document_count(),
                  data.token_count(), data.target_count(), order.sequences_per_epoch());
  const bool drops = settings.packing != Packing::stream && settings.too_long == TooLong::drop;
  if (drops && order.long_documents() > 0)
    words += fmt::format("; {} documents are dropped, as they are longer than data.sequence_length, {}",
                         order.long_documents(), settings.sequence_length);
  const int64_t cut = order.cut_documents();
  if (cut > 0) words += fmt::format("; {} documents do not stay whole", cut);
  // A sample that is cut answers a question that it does not see.
  if (cut > 0 && settings.packing == Packing::stream && data.target_count() < data.pair_count())
    words += ", and would with data.packing: samples if they fit";
  return words;
}

std::string words_of_sequences(const SequenceOrder& order, int64_t from, int64_t to) {
  constexpr size_t most_named = 8;
  const int64_t epoch = order.epoch_of(from), first = order.first_sequence(epoch);
  std::set<int64_t> documents;
  for (int64_t position = from; position < to; ++position)
    for (const int64_t document : order.documents_of(epoch, position - first)) documents.insert(document);
  const std::vector<DatasetSource>& sources = order.dataset().sources();
  std::vector<std::string> named;
  size_t left = most_named, at = 0;
  int64_t before = 0;
  for (auto next = documents.begin(); next != documents.end() && left > 0;) {
    for (; *next >= before + sources[at].documents; ++at) before += sources[at].documents;
    std::vector<int64_t> here;
    for (; next != documents.end() && *next < before + sources[at].documents && left > 0; ++next, --left)
      here.push_back(*next - before + 1);
    named.push_back(fmt::format("{} of '{}'", fmt::join(here, ", "), sources[at].path));
  }
  return fmt::format(
      "sequences {} to {} of epoch {}, of {} {}{}", from - first + 1, to - first, epoch + 1,
      documents.size() == 1 ? "document" : "documents", fmt::join(named, ", "),
      documents.size() > most_named ? fmt::format(" and {} more", documents.size() - most_named) : "");
}

}  // namespace collie
