// What tests of adapters, and of families, do with whole runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/actors/layout_runs.hpp"

namespace collie::test {

// Packed documents, 16 sequences a step in micro-batches of 2, with adapters as MathsOptions::peft has them.
MathsOptions adapter_maths(const std::string& peft, const std::string& family = "llama",
                           const std::string& dtype = "float32");

// The message of the UserError that refuses a training of `config`; "" if nothing does.
std::string refusal_of(const Config& config, ExistingRun existing = ExistingRun::ignore);

// Of an evaluation that is run to its end. Throws RunError if it fails.
double evaluated_loss(RunPlan plan);

// Layouts that have every option at least once, and pairs that are often wrong together.
const std::vector<LayoutOptions>& layouts_of_adapters();
// Five of them, for what differs little from what is tested in all. test_adapter_layouts.cpp has all pairs.
const std::vector<LayoutOptions>& few_layouts_of_adapters();

// Checks that the steps of a run in each of the layouts, of which it does the first in one and the others in
// another, `apart` further on in the list, are those of one rank. Continuous integration takes a third of
// them.
void check_in_layouts(const MathsOptions& maths, const std::vector<LayoutOptions>& layouts, size_t apart);
// That bfloat16's gradients are as near to float32's in each of the layouts as they are on one rank: all
// together, and the one that is farthest off. (One parameter's error in a layout may be many times its own on
// one rank, where rounding has turned no ReLU off, say.)
void check_bfloat16_in_layouts(const MathsOptions& maths, const std::vector<LayoutOptions>& layouts);
// The one or the other of a few of `all`, which have every pair of options (covering_cases()).
void check_covering_cases(const std::vector<LayoutCase>& all);

}  // namespace collie::test
