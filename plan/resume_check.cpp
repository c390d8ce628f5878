#include "plan/resume_check.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "optim/learning_rate.hpp"
#include "optim/optimizer.hpp"
#include "plan/data_resume.hpp"

namespace collie {

using Json = nlohmann::json;

namespace {

// "optimizer.betas.0" is matched by itself and by "optimizer.betas".
bool names(const std::string& allowed, const std::string& key) {
  return key == allowed || key.rfind(allowed + ".", 0) == 0;
}

// What the run was computed with, flattened, as this version would have recorded it.
Json maths_of_run(const Checkpoint& checkpoint) {
  Json maths = complete_fingerprint(checkpoint.metadata().at("maths")).flatten();
  // It was true or false once, and is a name now.
  if (const auto packing = maths.find("/data/packing"); packing != maths.end() && packing->is_boolean())
    *packing = *packing ? "true" : "false";
  // Sources had no weights once.
  if (!maths.contains("/data/weights")) maths["/data/weights"] = words_of_weights({});
  // A constant rate had this key once, and did not read it.
  if (maths.value("/lr_scheduler/name", Json()) == "constant") maths.erase("/lr_scheduler/min_lr_ratio");
  return maths;
}

// The options of one section that only one of two pieces has follow from the pieces' names.
bool follows_from_name(const std::string& key, const Json& now, const Json& then,
                       const std::vector<std::string>& allowed_changes) {
  const std::string section = key.substr(0, key.find('.')), pointer = "/" + section + "/name";
  if (now.value(pointer, Json()) == then.value(pointer, Json())) return false;
  std::string changed = "/" + key;
  std::replace(changed.begin(), changed.end(), '.', '/');
  return now.contains(changed) != then.contains(changed) &&
         std::count(allowed_changes.begin(), allowed_changes.end(), section + ".name") > 0;
}

// Other data have other numbers of documents, too.
bool follows_from_contents(const std::string& key, const std::vector<std::string>& allowed_changes) {
  const bool counts = key == "data.documents" || key == "data.tokens" || key == "data.targets";
  return counts && std::any_of(allowed_changes.begin(), allowed_changes.end(),
                               [](const std::string& allowed) { return names(allowed, "data.contents"); });
}

}  // namespace

void keep_reach_of_decay(RunPlan& plan) {
  constexpr const char* key = "optimizer.decay_norms_and_biases";
  bool& covers_all = plan.config.optimizer.decay_norms_and_biases;
  const bool did = maths_of_run(*plan.checkpoint).at("/optimizer/decay_norms_and_biases") == true;
  if (plan.config.file.places.count(key) > 0 || did == covers_all) return;
  covers_all = did;
  log::warn("{}: {}, as in the run in '{}' so far", key, did, plan.config.run.dir);
}

void check_unchanged(const RunPlan& plan, const std::vector<std::string>& allowed_changes) {
  const Json now = resume_fingerprint(plan).flatten(), then = maths_of_run(*plan.checkpoint);
  Json both = then;
  both.update(now);
  std::vector<std::string> unused = allowed_changes;
  std::string changed;
  for (const auto& [pointer, ignored] : both.items()) {
    std::string key = pointer.substr(1);
    std::replace(key.begin(), key.end(), '/', '.');
    const auto allows = [&](const std::string& allowed) { return names(allowed, key); };
    unused.erase(std::remove_if(unused.begin(), unused.end(), allows), unused.end());
    const Json value = now.value(pointer, Json()), before = then.value(pointer, Json());
    if (value == before || std::any_of(allowed_changes.begin(), allowed_changes.end(), allows)) continue;
    if (follows_from_name(key, now, then, allowed_changes)) continue;
    if (follows_from_contents(key, allowed_changes)) continue;
    if (key == "data.contents")
      if (const std::string source = changed_source(plan.order->dataset(), plan.checkpoint->metadata());
          !source.empty()) {
        changed = fmt::format(
            "data.contents: {}, in the run in '{}'; a resumed run must see the same data. Set it back, or "
            "allow it by name: --allow-change {}",
            source, plan.config.run.dir, key);
        continue;
      }
    // Another optimizer or schedule, or other adapters, have other options; the name says more than they do.
    if (changed.empty() || key == "optimizer.name" || key == "lr_scheduler.name" || key == "peft.type" ||
        key.rfind("plugins", 0) == 0)
      changed = fmt::format(
          "{}: is {}, but the run in '{}' was started with {}; a resumed run must compute the same. "
          "Set it back, or allow it by name: --allow-change {}",
          key, in_short(value), plan.config.run.dir, in_short(before), key);
  }
  if (!changed.empty()) throw UserError("{}", changed);
  if (!unused.empty())
    throw UserError("--allow-change {}: there is no such key among those that change what is computed",
                    shortened(unused.front()));
}

void warn_of_another_length(const RunPlan& plan) {
  const auto before = plan.checkpoint->metadata().value("total_steps", plan.total_steps);
  const int64_t next = plan.origin.steps + 1, last = std::min(next, before);
  if (before == plan.total_steps || next > plan.total_steps || last < 1) return;
  const LearningRateSchedule factor = make_learning_rate_schedule(plan.config.lr_scheduler);
  const double lr = options_in_force(plan.config.optimizer).number("lr"),
               now = lr * factor(next, plan.total_steps), then = lr * factor(last, before);
  if (now == then) return;
  log::warn("the learning rate at step {} is {:.2e} under {} steps; under the {} of before it {} {:.2e}",
            next, now, plan.total_steps, before,
            last < next ? fmt::format("had come, at step {}, to", last) : "would have been", then);
}

}  // namespace collie
