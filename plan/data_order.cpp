#include "plan/data_order.hpp"

#include <algorithm>

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

void warn_of_cuts(const SequenceOrder& order) {
  const Dataset& data = order.dataset();
  const SequenceSettings& settings = order.settings();
  const int64_t dropped =
      settings.packing != Packing::stream && settings.too_long == TooLong::drop ? order.long_documents() : 0;
  if (dropped > 0)
    log::warn(
        "{}: {} of {} documents are longer than data.sequence_length, {}, and are dropped (data.too_long)",
        data.name(), dropped, data.document_count(), settings.sequence_length);
  // Texts are cut anyway. A sample that is cut answers a question that it does not see.
  if (settings.packing != Packing::samples && data.target_count() == data.pair_count()) return;
  if (const int64_t cut = order.cut_documents(); cut > 0)
    log::warn("{}: {} of {} documents do not stay whole: data.sequence_length is {}{}", data.name(), cut,
              data.document_count(), settings.sequence_length,
              settings.packing == Packing::stream
                  ? ", and data.packing: samples would keep all that fit it whole"
                  : "");
}

void warn_of_nothing_to_learn(const SequenceOrder& order) {
  const int64_t without = order.sequences_without_targets(0);
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
  auto order = std::make_shared<const SequenceOrder>(std::move(data), settings);
  warn_of_cuts(*order);
  warn_of_nothing_to_learn(*order);
  return order;
}

}  // namespace collie
