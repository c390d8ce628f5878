#include "plan/data_resume.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/utf8.hpp"

namespace collie {

using nlohmann::json;

namespace {

json to_json(const MixturePhase& phase) {
  json places = json::array();
  for (const SourcePlace& place : phase.places) places.push_back({place.passes, place.documents});
  return {{"first_epoch", phase.first_epoch},
          {"first_sequence", phase.first_sequence},
          {"weights_in_millionths", phase.weights},
          {"places", places}};
}

MixturePhase phase_from(const json& found) {
  MixturePhase phase{found.at("first_epoch").get<int64_t>(),
                     found.at("first_sequence").get<int64_t>(),
                     found.at("weights_in_millionths").get<std::vector<int64_t>>(),
                     {}};
  for (const json& place : found.at("places"))
    phase.places.push_back({place.at(0).get<int64_t>(), place.at(1).get<int64_t>()});
  return phase;
}

bool is_valid(const MixturePhase& phase) {
  const auto place_is_valid = [](const SourcePlace& place) {
    return place.passes >= 0 && place.documents >= 0;
  };
  return phase.first_epoch >= 0 && phase.first_sequence >= 0 &&
         std::all_of(phase.weights.begin(), phase.weights.end(),
                     [](int64_t weight) { return weight >= 0; }) &&
         std::all_of(phase.places.begin(), phase.places.end(), place_is_valid) &&
         phase.places.size() == phase.weights.size();
}

std::vector<MixturePhase> saved_phases(const json& metadata, size_t sources, const std::string& checkpoint) {
  const auto mixture = metadata.find("mixture");
  if (mixture == metadata.end()) return {first_phase(std::vector<int64_t>(sources, whole_weight))};
  std::vector<MixturePhase> phases;
  try {
    for (const json& each : *mixture) phases.push_back(phase_from(each));
  } catch (const json::exception& error) {
    throw UserError("{}: mixture: {}; the weights and places of the sources are wanted", checkpoint,
                    error.what());
  }
  if (phases.empty() || !std::all_of(phases.begin(), phases.end(), is_valid))
    throw UserError("{}: mixture: found no places that sources can have", checkpoint);
  for (const MixturePhase& phase : phases)
    if (phase.weights.size() != sources)
      throw UserError(
          "data.train: has {} sources, but {} has the places in {}; sources with weights go on only if they "
          "are as many as before",
          sources, checkpoint, phase.weights.size());
  return phases;
}

}  // namespace

void add_data_metadata(const SequenceOrder& order, int64_t position, json& metadata) {
  json& sources = metadata["sources"] = json::array();
  for (const DatasetSource& source : order.dataset().sources())
    sources.push_back({{"path", replace_invalid_utf8(source.path)},
                       {"settings", source.settings},
                       {"contents", source.contents},
                       {"documents", source.documents},
                       {"tokens", source.tokens},
                       {"targets", source.targets}});
  const std::vector<MixturePhase>& phases = order.mixture().phases();
  if (phases.size() == 1 &&
      phases.front() == first_phase(std::vector<int64_t>(phases.front().weights.size(), whole_weight)))
    return;
  json& mixture = metadata["mixture"] = json::array();
  // Earlier phases are over.
  for (size_t phase = order.mixture().phase_of(order.epoch_of(position)); phase < phases.size(); ++phase)
    mixture.push_back(to_json(phases[phase]));
}

std::vector<MixturePhase> resumed_phases(const SequenceOrder& planned, const json& metadata,
                                         const std::string& checkpoint) {
  const std::vector<int64_t>& weights = planned.mixture().phases().back().weights;
  std::vector<MixturePhase> phases = saved_phases(metadata, weights.size(), checkpoint);
  if (phases.back().weights == weights) return phases;
  const auto position = metadata.at("position").get<int64_t>();
  const SequenceOrder before(planned.shared_dataset(), planned.settings(), phases);
  const int64_t under_way = before.epoch_of(position);
  const int64_t first = under_way + (before.first_sequence(under_way) == position ? 0 : 1);
  const MixturePhase next{first, before.first_sequence(first), weights, before.mixture().places(first)};
  log::info("data.weights: {} from epoch {} on; {}", words_of_weights(weights), first + 1,
            first == under_way ? "it begins now"
                               : fmt::format("epoch {} is finished with {}", under_way + 1,
                                             words_of_weights(phases.back().weights)));
  while (!phases.empty() && phases.back().first_epoch >= first) phases.pop_back();
  phases.push_back(next);
  return phases;
}

std::string changed_source(const Dataset& data, const json& metadata) {
  const json before = metadata.value("sources", json::array());
  const std::vector<DatasetSource>& now = data.sources();
  if (before.empty()) return "";
  try {
    for (size_t i = 0; i < std::min(now.size(), before.size()); ++i) {
      const json& then = before[i];
      const std::string place =
          fmt::format("{}[{}] ('{}')", data.name(), i, replace_invalid_utf8(now[i].path));
      if (then.at("settings") != now[i].settings)
        return fmt::format("{} is read in another way, with {}; it was {}", place,
                           shortened(now[i].settings, 400),
                           shortened(then.at("settings").get<std::string>(), 400));
      if (then.at("contents") != now[i].contents)
        return fmt::format(
            "{} has other contents: {} documents with {} tokens and {} targets; there were {} with {} and {}",
            place, now[i].documents, now[i].tokens, now[i].targets, then.at("documents").get<int64_t>(),
            then.at("tokens").get<int64_t>(), then.at("targets").get<int64_t>());
    }
  } catch (const json::exception&) {  // of another version
    return "";
  }
  if (now.size() != before.size())
    return fmt::format("{} has {} sources; there were {}", data.name(), now.size(), before.size());
  return "";
}

std::string words_of_weights(const std::vector<int64_t>& weights) {
  if (std::all_of(weights.begin(), weights.end(), [](int64_t weight) { return weight == whole_weight; }))
    return "1 for each source";
  std::string words;
  for (const int64_t weight : weights)
    words += fmt::format("{}{}", words.empty() ? "" : ", ",
                         static_cast<double>(weight) / static_cast<double>(whole_weight));
  return words;
}

}  // namespace collie
