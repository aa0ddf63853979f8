from gdwlib.gdw import GDW as GDW
