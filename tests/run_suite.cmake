# SPDX-License-Identifier: Apache-2.0
#
# Runs one suite of a test program. A filter that matches nothing is a success
# for the program, but not for us.
#
#   cmake -D PROGRAM=path -D SUITE=name -D SECONDS=600 -P run_suite.cmake

execute_process(
  COMMAND "${PROGRAM}" -n -v 3 -r ${SECONDS} -s "^${SUITE}$"
  RESULT_VARIABLE code
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output
  ECHO_OUTPUT_VARIABLE ECHO_ERROR_VARIABLE)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "suite ${SUITE} failed with ${code}")
endif()
if(NOT output MATCHES "tests: +[1-9]")
  message(FATAL_ERROR "suite ${SUITE} ran no test")
endif()
if(NOT output MATCHES "checks: +[1-9]")
  message(FATAL_ERROR "suite ${SUITE} checked nothing")
endif()
