# One static library a folder ("floor"), and one test executable a floor.

# How well the compiler optimises a floor, where it is not -O3. -O1 builds in 0.6 of the time and -O2 in 0.75, and what such
# floors do is not what a step waits for: they plan, and say to kernels/ and comm/ what to compute.
set(COLLIE_OPTIMISATION_OF_plan -O1)
set(COLLIE_OPTIMISATION_OF_peft -O1)
set(COLLIE_OPTIMISATION_OF_net -O1)
set(COLLIE_OPTIMISATION_OF_actors -O1)
set(COLLIE_OPTIMISATION_OF_io -O2)
set(COLLIE_OPTIMISATION_OF_metrics -O2)
set(COLLIE_OPTIMISATION_OF_models -O2)
set(COLLIE_OPTIMISATION_OF_optim -O2)
set(COLLIE_OPTIMISATION_OF_runtime -O2)

# collie_floor(NAME DEPENDS...): every .cpp of this folder (and its sub-folders) as the library collie_NAME.
function(collie_floor name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/kernels/cuda/")  # a library of its own
  if(NOT sources)
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp" "")
    set(sources "${CMAKE_CURRENT_BINARY_DIR}/empty.cpp")
  endif()
  collie_library(${name} "${sources}" ${ARGN})
endfunction()

# collie_library(NAME SOURCES DEPENDS...): the library collie_NAME.
function(collie_library name sources)
  add_library(collie_${name} STATIC ${sources})
  target_link_libraries(collie_${name} PUBLIC collie_options ${ARGN})
  set_target_properties(collie_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(DEFINED COLLIE_OPTIMISATION_OF_${name})
    target_compile_options(collie_${name} PRIVATE $<$<CONFIG:Release>:${COLLIE_OPTIMISATION_OF_${name}}>)
  endif()
endfunction()

# collie_tests(NAME DEPENDS...): every .cpp of tests/NAME as the executable test_NAME. ctest runs it once for the fast tier
# (label "fast"), once for the cases tagged [slow] (label "slow"), once for those tagged [slow][timed] (label "slow", with no
# other test beside them: they compare times) and once for those tagged [slow][long] (label "long": outside continuous
# integration), where there are any.
function(collie_tests name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE collie_catch_main collie_options ${ARGN})
  # Half the time to build, and no slower to run. -Og takes three quarters of -O1's, for tests that compute little themselves.
  set(optimisation -Og)
  if(name MATCHES "kernels|cuda|bfloat16|cudnn|models|optim")
    set(optimisation -O1)
  endif()
  target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:${optimisation}>)
  set_target_properties(test_${name} PROPERTIES COLLIE_TEST ON)  # for options.cmake
  target_compile_definitions(test_${name} PRIVATE COLLIE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND test_${name} "~[slow]" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 300)
  # Catch2 3 takes a filter that matches nothing for a failure, so a tier is there only where it has cases.
  set(in_tier_slow "[slow]~[long]~[timed]")
  set(in_tier_timed "[timed]")
  set(in_tier_long "[long]")
  foreach(tier slow timed long)
    foreach(source ${sources})
      file(STRINGS "${source}" tagged REGEX "\\[${tier}\\]" LIMIT_COUNT 1)
      if(tagged)
        add_test(NAME ${name}_${tier} COMMAND test_${name} "${in_tier_${tier}}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
        set_tests_properties(${name}_${tier} PROPERTIES LABELS ${tier} TIMEOUT 1800)
        if(tier STREQUAL "slow")
          set_tests_properties(${name}_slow PROPERTIES COST 100)  # first, so that none is left for one processor at the end
        elseif(tier STREQUAL "timed")
          set_tests_properties(${name}_timed PROPERTIES LABELS slow RUN_SERIAL ON)
        endif()
        break()
      endif()
    endforeach()
  endforeach()
endfunction()
