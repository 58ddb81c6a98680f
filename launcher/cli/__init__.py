"""What a person types: one thin module for each verb, loaded when it is used."""
